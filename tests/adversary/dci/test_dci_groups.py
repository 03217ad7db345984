"""Residual blocks of a stage inverted as one block."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from worlds import images

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.attack import DCI
from adversary.inversion.dci.chain import Block, Group, chain, grouped
from adversary.inversion.dci.inverse_blocks import inverse_of
from splitlab.contracts import ArchSpec, Features, InputSpec
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut


def granted(name: str, point: str, size: int = 16) -> ThreatModel:
    arch = ArchSpec(name=name, input=InputSpec(size=size))
    head = cut(build(arch, seed=0).eval(), point, None, arch.input.shape).head
    aux = AuxImages(images(24, 1), images(4, 2), "synthetic")
    head = head.eval().requires_grad_(False)
    return ThreatModel(arch=arch, head_end=point, head=head, input=arch.input, aux=aux)


@pytest.mark.parametrize(
    ("name", "point", "ends"),
    [
        ("resnet20", "layer2.1", ["relu", "layer1.2", "layer2.1"]),
        ("resnet20", "layer2.0", ["relu", "layer1.2", "layer2.0"]),
        pytest.param(
            *("resnet50", "layer2.1", ["maxpool", "layer1.2", "layer2.1"]), marks=pytest.mark.slow
        ),
    ],
)
def test_blocks_of_a_stage_are_one_and_their_inverses_stand_in_reverse(name, point, ends):
    threat = granted(name, point)
    blocks = grouped(chain(threat, "a test"))
    assert [block.name for block in blocks] == ends
    value = torch.rand(2, 3, 16, 16, generator=generator(1))
    whole = threat.head(value)
    for number, block in enumerate(blocks):
        made = inverse_of(block, value, image=number == 0).eval()
        if isinstance(block.module, Group):
            inner = block.module.blocks
            assert isinstance(made, nn.Sequential)
            assert [one.given for one in made] == [one.given for one in reversed(inner)]
            if name == "resnet50":
                assert all(sum(isinstance(m, nn.Conv2d) for m in one.main) == 3 for one in made)
        value = block.module(value)
        assert tuple(made(value).shape[1:]) == block.given
    assert torch.allclose(value, whole, atol=1e-5)


def test_only_neighbours_of_a_stage_are_joined():
    def block(name: str) -> Block:
        return Block(name, nn.Identity(), (4,), (4,))

    names = ["layer1.0", "layer1.1", "layer1.2", "layer2.0", "relu", "layer2.1"]
    joined = grouped([block(name) for name in names])
    assert [one.name for one in joined] == ["layer1.0", "layer1.2", "layer2.0", "relu", "layer2.1"]


def test_fewer_blocks_are_trained():
    threat = granted("resnet20", "layer1.2")
    told = {}
    for together in (False, True):
        own = {"data": "own", "images": 16, "epochs": 1, "tune_epochs": 1, "batch_size": 8}
        attack = DCI.configured({**own, "grouped": together})
        reconstruct = attack.fit(threat, generator(0))
        seen = threat.head(torch.rand(2, 3, 16, 16))
        estimate = reconstruct(Features(("a", "b"), seen))
        assert estimate.values.shape == (2, 3, 16, 16)
        told[together] = estimate.extra["blocks"]
    assert told[False] == ["relu", "layer1.0", "layer1.1", "layer1.2"]
    assert told[True] == ["relu", "layer1.2"]


def test_made_images_are_kept_and_the_same_as_without_a_place(tmp_path, monkeypatch):
    threat = granted("resnet20", "layer1.0")
    quick = {"images": 12, "synthesis_steps": 3, "synthesis_batch": 8}
    attack = DCI.configured({**quick, "epochs": 1, "tune_epochs": 0})
    seen = Features(("a",), threat.head(torch.rand(1, 3, 16, 16)))
    alone = attack.fit(threat, generator(0))(seen).values
    kept = attack.fit(threat, generator(0), Workplace(checkpoint=tmp_path / "dci.pt"))(seen).values
    assert torch.equal(alone, kept)
    (folder,) = [path for path in tmp_path.glob("images-*") if path.is_dir()]
    assert len(list(folder.rglob("*.png"))) == 16

    def never(*_, **__):
        raise AssertionError("images are made again")

    monkeypatch.setattr("adversary.synthesis.folder.synthesise", never)
    again = attack.fit(threat, generator(0), Workplace(checkpoint=tmp_path / "dci.pt"))(seen).values
    assert torch.equal(alone, again)


def test_large_images_are_made_with_the_published_settings():
    small, large = (DCI()._synthesis(size) for size in (32, 224))
    assert (small.half_steps, small.steps, small.roll) == (0, 400, 2)
    assert (large.half_steps, large.steps, large.roll) == (2000, 1000, 30)
    assert small.classes == large.classes == 0
    assert DCI(synthesis_steps=7, images=20)._synthesis(224).steps == 7
    assert DCI(synthesis_start="natural")._synthesis(32).start == "natural"
    assert DCI()._synthesis(224).start == "white"
    assert DCI(images=20)._synthesis(32).batch_size == 20


def test_one_image_more_than_a_batch_is_learned_from_too():
    """Maps of a single place: one image alone has no spread for the batch norm of an inverse."""
    threat = granted("resnet20", "layer3.1", size=4)
    assert threat.head.output_shape[1:] == (1, 1)
    quick = {"images": 5, "synthesis_steps": 1, "synthesis_batch": 5, "epochs": 1}
    attack = DCI.configured({**quick, "tune_epochs": 1, "batch_size": 4})
    seen = threat.head(torch.rand(2, 3, 4, 4))
    assert attack.fit(threat, generator(0))(Features(("a", "b"), seen)).values.shape[0] == 2
    with pytest.raises(BadInput, match="batch_size"):
        DCI.configured({"batch_size": 1})
