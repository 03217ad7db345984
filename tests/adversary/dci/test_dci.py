"""DCI: blocks of a head and their mirrors, the phases, and an attack without any image."""

import itertools

import pytest
import torch
from torch import nn
from worlds import (
    INPUT,
    VICTIMS,
    Killed,
    Watch,
    capture,
    images,
    outcome,
    quality,
    tiny_head,
)

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.attack import DCI, PIECE
from adversary.inversion.dci.chain import Block, chain
from adversary.inversion.dci.inverse_blocks import InverseBlock, inverse_of, mirror
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.training import (
    InverseSchooling,
    divide_and_conquer,
    end_to_end,
    losses,
)
from adversary.inversion.mean_image import MeanImage
from splitlab.contracts import ArchSpec, Features, FeatureSpec, InputSpec
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut
from splitlab.storage import hash_tensors

CPU = torch.device("cpu")
QUICK = {
    "images": 32,
    "synthesis_steps": 30,
    "synthesis_batch": 32,
    "epochs": 4,
    "tune_epochs": 4,
    "batch_size": 16,
    "learning_rate": 0.01,
}


def schooling(**more):
    fields = {
        "epochs": 60,
        "rate": 0.03,
        "tune_epochs": 30,
        "tune_rate": 0.003,
        "batch_size": 32,
        "layer": 1.0,
        "image": 1.0,
        "cycle": 1.0,
        "whole_cycle": True,
    }
    return InverseSchooling(**{**fields, **more})


def granted(point="block2", name="tiny_cnn", size=16, **more):
    arch = ArchSpec(name=name, input=InputSpec(size=size))
    head = tiny_head(point) if name == "tiny_cnn" else None
    if head is None:
        head = cut(build(arch, seed=0), point, None, arch.input.shape).head
    return ThreatModel(arch=arch, head_end=point, head=head, input=arch.input, **more)


@pytest.mark.parametrize(
    ("name", "point", "ends"),
    [
        ("tiny_cnn", "pool", ["block1.2", "block2.2", "pool"]),
        ("resnet8", "layer2.0", ["relu", "layer1.0", "layer2.0"]),
        pytest.param(
            "resnet18_cifar",
            "layer2.0",
            ["maxpool", "layer1.0", "layer1.1", "layer2.0"],
            marks=pytest.mark.slow,
        ),
        ("tiny_vit", "layers.1", ["conv_proj", "layers.0", "layers.1"]),
    ],
)
def test_a_head_is_the_chain_of_its_blocks_and_each_has_a_mirror(name, point, ends):
    threat = granted(point, name)
    blocks = chain(threat, "a test")
    assert [block.name for block in blocks] == ends
    pixels = torch.rand(2, *threat.input.shape, generator=generator(1))
    value = pixels
    with torch.no_grad():
        for block in blocks:
            assert tuple(value.shape[1:]) == block.given
            value = block.module(value)
            assert tuple(value.shape[1:]) == block.made
        assert torch.allclose(value, threat.head(pixels), atol=1e-5)
    for number, block in enumerate(blocks):
        inverse = mirror(block.module, block.given, block.made, positive=True, image=number == 0)
        found = inverse(torch.rand(2, *block.made))
        assert tuple(found.shape[1:]) == block.given
        assert (float(found.detach().min()) >= 0) == (number > 0)
    # the transformer's layer 0 is fed a map and gives tokens; nothing goes around that
    first = {"tiny_cnn": len(blocks), "tiny_vit": 2}.get(name, 1)
    residual = [number >= first for number in range(len(blocks))]
    made = [mirror(b.module, b.given, b.made, positive=True, image=False) for b in blocks]
    assert [one.around is not None for one in made] == residual


@pytest.mark.parametrize(
    ("given", "made"),
    [((8, 15, 15), (16, 4, 4)), ((4, 8, 8), (12,)), ((20,), (12,)), ((3, 12, 12), (6, 3, 3))],
)
def test_inverses_meet_odd_sides_vectors_and_strides_of_four(given, made):
    inverse = InverseBlock(given, made, convolutions=1, shortcut=True)
    assert tuple(inverse(torch.rand(2, *made)).shape[1:]) == given


def invertible(count):
    """Blocks that turn vectors of four numbers, and the inverses that DCI gives them."""
    blocks = []
    for number in range(count):
        layer = nn.Linear(4, 4)
        with torch.no_grad():
            layer.weight.copy_(torch.linalg.qr(torch.randn(4, 4, generator=generator(number))).Q)
        blocks.append(Block(f"b{number}", layer.requires_grad_(False), (4,), (4,)))
    torch.manual_seed(3)
    inputs = torch.randn(128, 4, generator=generator(9))
    lessons = Lessons.of(blocks, inputs)
    fed = zip(blocks, lessons.kept, strict=False)
    inverses = [inverse_of(block, value, image=False) for block, value in fed]
    return blocks, inverses, lessons


def back(inverses, value):
    with torch.no_grad():
        for inverse in reversed(inverses):
            value = inverse(value)
    return value


def test_a_chain_of_invertible_linear_blocks_is_inverted():
    blocks, inverses, lessons = invertible(2)
    told = divide_and_conquer(
        inverses,
        lessons,
        schooling(epochs=400, tune_epochs=150, batch_size=128),
        seed=1,
    )
    assert [one["block"] for one in told] == [1, 2]
    assert "loss_B" not in told[0]
    fresh = torch.randn(64, 4, generator=generator(10))
    feature = fresh
    for block in blocks:
        feature = block.module(feature)
    assert float((back(inverses, feature) - fresh).abs().max()) < 1e-4


def test_phase_a_changes_one_inverse_and_the_target_never_changes():
    blocks, inverses, lessons = invertible(3)
    seen = []

    def look(name):
        seen.append((name, [hash_tensors(dict(one.state_dict())) for one in inverses]))

    target = [hash_tensors(dict(block.module.state_dict())) for block in blocks]
    short = schooling(epochs=1, tune_epochs=1)
    divide_and_conquer(inverses, lessons, short, seed=1, work=Workplace(progress=Watch(look)))
    last = [hash_tensors(dict(one.state_dict())) for one in inverses]
    states = [*(state for _, state in seen), last]
    names = [name for name, _ in seen]
    assert names == ["block 1 A", "block 2 A", "block 2 B", "block 3 A", "block 3 B"]
    changed = [
        [i for i in range(3) if before[i] != after[i]]
        for before, after in itertools.pairwise(states)
    ]
    assert changed == [[0], [1], [0, 1], [2], [0, 1, 2]]
    assert target == [hash_tensors(dict(block.module.state_dict())) for block in blocks]


def test_phase_a_leaves_the_running_statistics_of_other_inverses_alone():
    threat = granted("layer2.0", "resnet8")
    blocks = chain(threat, "a test")
    inverses = [
        mirror(b.module, b.given, b.made, positive=n > 0, image=n == 0)
        for n, b in enumerate(blocks)
    ]
    lessons = Lessons.of(blocks, torch.rand(16, *threat.input.shape, generator=generator(1)))
    states = []

    def look(name):
        states.append((name, [hash_tensors(dict(one.state_dict())) for one in inverses]))

    short = schooling(epochs=1, tune_epochs=1, batch_size=8)
    divide_and_conquer(inverses, lessons, short, seed=1, work=Workplace(progress=Watch(look)))
    by_name = dict(states)
    assert any(isinstance(m, nn.BatchNorm2d) for m in inverses[1].modules())
    # between the start of phase A and the start of phase B only the third inverse has changed
    assert by_name["block 3 A"][:2] == by_name["block 3 B"][:2]
    assert by_name["block 3 A"][2] != by_name["block 3 B"][2]


def test_the_losses_are_the_papers():
    blocks, inverses, lessons = invertible(2)
    levels, k = lessons.kept, 1
    with torch.no_grad():
        first = inverses[0](levels[1])
        layer = (first - levels[0]).abs().mean()
        again = blocks[0].module(first)
        cycle = (again - levels[1]).abs().mean()
        further = (blocks[1].module(again) - levels[2]).abs().mean()

        def loss(**more):
            return float(losses(inverses[:k], blocks, levels, levels[k], schooling(**more)))

        assert loss() == pytest.approx(float(2 * layer + cycle + further))
        assert loss(whole_cycle=False) == pytest.approx(float(2 * layer + cycle))
        assert loss(cycle=0.0, layer=0.0, image=3.0) == pytest.approx(float(3 * layer))


def test_end_to_end_makes_as_many_steps_and_no_loss_of_a_layer():
    _, inverses, lessons = invertible(2)
    watch = Watch()
    end_to_end(
        inverses,
        lessons,
        schooling(epochs=3, tune_epochs=2),
        seed=1,
        work=Workplace(progress=watch),
    )
    assert watch.totals == [(2 * 3 + 2) * 128]


def known(**more):
    seen = capture(tiny_head("block2"))
    return granted(**{"feature": FeatureSpec(shape=tuple(seen.shape[1:])), **more}), seen


def test_it_needs_no_image_and_beats_the_floor():
    threat, seen = known()
    done = outcome(DCI.configured({**QUICK, "epochs": 30}), threat, seen)
    with_images = ThreatModel(
        **{**vars(threat), "aux": AuxImages(images(64, 1), images(4, 2), "public")}
    )
    floor = quality(outcome(MeanImage(), with_images, seen), VICTIMS)
    assert quality(done, VICTIMS) > floor + 1
    assert done.estimate.extra["learned_from"] == "32 synthetic images"
    assert done.estimate.extra["blocks"] == ["block1.2", "block2.2"]


def test_own_images_are_only_taken_when_asked_for():
    aux = AuxImages(images(48, 1), images(4, 2), "public")
    threat, seen = known(aux=aux)
    own = outcome(DCI.configured({**QUICK, "data": "own"}), threat, seen)
    assert own.estimate.extra["learned_from"] == "32 real images"
    made = known(aux=AuxImages(images(48, 1), images(4, 2), "synthetic", "head"))
    told = outcome(DCI.configured({**QUICK, "data": "own"}), *made).estimate.extra
    assert told["learned_from"] == "32 synthetic images"
    threat, _ = known()
    with pytest.raises(MissingKnowledge, match="'aux'"):
        DCI.configured({**QUICK, "data": "own"}).fit(threat, generator(0))
    with pytest.raises(MissingKnowledge, match="'head'"):
        DCI().fit(ThreatModel(input=INPUT), generator(0))


def test_one_attack_is_one_pass_through_every_inverse_and_none_through_the_head(monkeypatch):
    threat, seen = known()
    calls, made = [], []
    own = DCI._inverses

    def spied(*given):
        made.extend(own(*given))
        return made

    def noted(name):
        return lambda *_: calls.append(name)

    monkeypatch.setattr(DCI, "_inverses", spied)
    attack = DCI.configured({**QUICK, "epochs": 1, "tune_epochs": 1})
    reconstruct = attack.fit(threat, generator(0))
    for number, inverse in enumerate(made, 1):
        inverse.register_forward_hook(noted(f"inverse {number}"))
    # Forward passes of any other module, the target's blocks and their copies among them.
    inside = {id(module) for inverse in made for module in inverse.modules()}
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, *_: None if id(module) in inside else calls.append(module)
    )
    with hook:
        reconstruct(Features(tuple(map(str, range(len(seen)))), seen))
    assert len(seen) < PIECE
    assert calls == ["inverse 2", "inverse 1"]


def test_an_attack_depends_on_nothing_beside_it():
    threat, seen = known()
    attack = DCI.configured({**QUICK, "epochs": 1, "tune_epochs": 1})
    reconstruct = attack.fit(threat, generator(0))
    ids = tuple(map(str, range(len(seen))))
    whole = reconstruct(Features(ids, seen)).values
    alone = reconstruct(Features(ids[:1], seen[:1])).values
    assert torch.allclose(whole[:1], alone, atol=1e-5)
    again = attack.fit(threat, generator(0))(Features(ids, seen)).values
    assert torch.equal(whole, again)


def test_a_killed_fit_goes_on_where_it_was(tmp_path):
    threat, seen = known()
    attack = DCI.configured({**QUICK, "epochs": 2, "tune_epochs": 1})
    ids = tuple(map(str, range(len(seen))))
    whole = attack.fit(threat, generator(0))(Features(ids, seen)).values
    path = tmp_path / "dci.pt"
    with pytest.raises(Killed):
        attack.fit(
            threat, generator(0), Workplace(progress=Watch(kill_at="block 2 B"), checkpoint=path)
        )
    phases = sorted(p.name.rpartition("-")[2] for p in tmp_path.glob("dci-*.pt"))
    assert phases == ["1A.pt", "2A.pt"]
    again = attack.fit(threat, generator(0), Workplace(checkpoint=path))
    assert torch.equal(again(Features(ids, seen)).values, whole)


def test_a_head_without_batch_norms_is_refused():
    with pytest.raises(BadInput, match="no batch norm"):
        DCI().fit(granted("layers.0", "tiny_vit"), generator(0))
