"""One training of DCI serves every depth; large features are computed batch by batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from worlds import INPUT, Watch, capture, images, tiny_head

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.attack import DCI
from adversary.inversion.dci.chain import Block, chain
from adversary.inversion.dci.inverse_blocks import InverseBlock, mirror
from adversary.inversion.dci.lessons import Lessons
from splitlab.contracts import ArchSpec, Features, InputSpec
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut

ARCH = ArchSpec(name="tiny_cnn", input=INPUT)
OWN = {"data": "own", "images": 32, "epochs": 2, "tune_epochs": 1, "batch_size": 16}


def granted(point: str) -> ThreatModel:
    aux = AuxImages(images(48, 1), images(4, 2), "synthetic")
    return ThreatModel(arch=ARCH, head_end=point, head=tiny_head(point), input=INPUT, aux=aux)


def fitted(
    point: str, path: Path | None, threat: ThreatModel | None = None, **more: object
) -> tuple[torch.Tensor, list[str]]:
    """Reconstructions, and what was trained for them."""
    heard = Watch()
    attack = DCI.configured({**OWN, "cycle_to": "k", **more})
    reconstruct = attack.fit(
        threat or granted(point), generator(0), Workplace(progress=heard, checkpoint=path)
    )
    seen = capture(tiny_head(point))
    ids = tuple(map(str, range(len(seen))))
    return reconstruct(Features(ids, seen)).values, heard.names


def test_a_shallower_adversary_finds_its_inverses_on_the_shelf(tmp_path: Path) -> None:
    _, deep = fitted("block2", tmp_path / "deep.pt")
    assert deep == ["block 1 A", "block 2 A", "block 2 B"]
    taken, trained = fitted("block1", tmp_path / "shallow.pt")
    assert trained == []
    alone, own = fitted("block1", None)
    assert own == ["block 1 A"]
    assert torch.equal(taken, alone)


def test_a_deeper_adversary_goes_on_from_a_shallower_one(tmp_path: Path) -> None:
    fitted("block1", tmp_path / "shallow.pt")
    taken, trained = fitted("block2", tmp_path / "deep.pt")
    assert trained == ["block 2 A", "block 2 B"]
    assert torch.equal(taken, fitted("block2", None)[0])


@pytest.mark.parametrize("more", [{"epochs": 3}, {"cycle_to": "L"}, {"layer": 0.5}])
def test_other_settings_take_nothing_from_the_shelf(tmp_path: Path, more: dict) -> None:
    fitted("block1", tmp_path / "one.pt")
    assert fitted("block2", tmp_path / "two.pt", **more)[1][0] == "block 1 A"


def test_what_a_defence_made_different_is_not_kept_for_others(tmp_path: Path) -> None:
    defended = replace(granted("block2"), defense="gaussian:level=0.5")
    _, first = fitted("block2", tmp_path / "one.pt", defended)
    assert first == ["block 1 A", "block 2 A", "block 2 B"]
    plain, second = fitted("block2", tmp_path / "two.pt")
    assert second == ["block 2 A", "block 2 B"]
    again, third = fitted("block2", tmp_path / "three.pt", defended)
    assert third == ["block 2 A", "block 2 B"]
    assert not torch.equal(plain, again)


def test_a_bottleneck_is_mirrored_with_its_three_convolutions() -> None:
    block = Bottleneck(256, 32, 2, nn.Sequential(nn.Conv2d(256, 128, 1, 2), nn.BatchNorm2d(128)))
    made = tuple(block(torch.rand(2, 256, 8, 8)).shape[1:])
    inverse = mirror(block, (256, 8, 8), made, positive=True, image=False)
    kernels = [m for m in inverse.main if isinstance(m, nn.Conv2d)]
    assert [k.kernel_size[0] for k in kernels] == [1, 3, 1]
    assert [k.out_channels for k in kernels] == [32, 32, 256]
    assert inverse(torch.rand(2, *made)).shape == (2, 256, 8, 8)
    plain = BasicBlock(16, 16)
    main = mirror(plain, (16, 8, 8), (16, 8, 8), positive=True, image=False).main
    assert [m.kernel_size[0] for m in main if isinstance(m, nn.Conv2d)] == [3, 3]


def shapes(inverse: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(p.shape) for p in inverse.parameters()]


def test_both_forms_of_repvgg_have_the_same_inverses_of_plain_convolutions() -> None:
    made = {}
    for form in ("train", "deploy"):
        arch = ArchSpec(name="repvgg_mini", arguments={"form": form})
        head = cut(build(arch, seed=0).eval(), "stage3.2", None, arch.input.shape).head
        threat = ThreatModel(arch=arch, head_end="stage3.2", head=head, input=arch.input)
        blocks = chain(threat, "a test")
        assert len(blocks) == 8
        made[form] = [
            mirror(b.module, b.given, b.made, positive=n > 0, image=n == 0)
            for n, b in enumerate(blocks)
        ]
    for train, deploy in zip(made["train"], made["deploy"], strict=True):
        assert train.around is deploy.around is None
        assert shapes(train) == shapes(deploy)
        kernels = [m for m in train.main if isinstance(m, nn.Conv2d)]
        strided = any(isinstance(m, nn.Upsample) for m in train.main)
        assert [k.kernel_size for k in kernels] == [(3, 3)] * (2 if strided else 1)


def test_a_depthwise_bottleneck_has_an_inverse_of_its_own_size() -> None:
    arch = ArchSpec(name="mobilenet_v2", input=InputSpec(size=64))
    net = build(arch, seed=0).eval()
    head = cut(net, "features.4", None, arch.input.shape).head
    threat = ThreatModel(arch=arch, head_end="features.4", head=head, input=arch.input)
    last = chain(threat, "a test")[-1]
    inverse = mirror(last.module, last.given, last.made, positive=False, image=False)
    count = [sum(p.numel() for p in m.parameters()) for m in (last.module, inverse)]
    assert 0.5 < count[1] / count[0] < 2
    assert inverse(torch.rand(2, *last.made)).shape[1:] == last.given


@pytest.mark.parametrize(
    ("given", "made"),
    [((8, 8, 32), (8, 8, 32)), ((8, 8, 32), (4, 4, 64)), ((3, 32, 32), (8, 8, 32))],
)
def test_channels_last_grids_are_maps_on_their_way(given, made) -> None:
    inverse = InverseBlock(given, made, convolutions=2, shortcut=True, image=given[0] == 3).eval()
    assert inverse(torch.rand(2, *made)).shape[1:] == given
    if given == made:  # a channel's change reaches every channel of its place and its neighbours
        value = torch.rand(1, *made)
        other = value.clone()
        other[0, 0, 0, 5] += 1
        moved = (inverse(other) - inverse(value)).abs().sum((0, 3)) > 0
        assert moved[0, 0]
        assert not moved[5:, 5:].any()


def test_tokens_are_mixed_on_their_way_back() -> None:
    inverse = InverseBlock((10, 16), (10, 16), positive=False).eval()
    value = torch.rand(1, 10, 16)
    other = value.clone()
    other[0, 3] += torch.rand(16)
    moved = (inverse(other) - inverse(value)).abs().sum(2)[0] > 1e-6
    assert moved.all()


def test_kept_features_and_those_of_a_batch_are_the_same() -> None:
    torch.manual_seed(0)
    blocks = [
        Block(name, nn.Linear(4, 4).requires_grad_(False), (4,), (4,)) for name in ("one", "two")
    ]
    inputs = torch.randn(300, 4, generator=generator(1))
    kept = Lessons.of(blocks, inputs, prepare=lambda value: 2 * value)
    made = Lessons.of(blocks, inputs, prepare=lambda value: 2 * value, most=0)
    assert kept.kept is not None
    assert made.kept is None
    rows = torch.tensor([5, 299, 0])
    for one, other in zip(kept.levels(rows), made.levels(rows), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert torch.equal(kept.levels(rows)[0], 2 * inputs[rows])
