"""Hooks of a defence on their way through `prepare`: what is trained, kept and deployed."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from orders import CLASSES, Killer, images, order

import defenses
from defenses import Stack
from defenses.parts.prepare import prepare
from splitlab.contracts import ArchSpec, Defense, InputSpec, Phase, Trainer
from splitlab.deployment import ClientHalf, ServerHalf, write_deployment
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import FreeDraw, KeyedDraw
from splitlab.split import part_state
from splitlab.training import TrainRecipe

RESNET8 = ArchSpec(name="resnet8", classes=3, input=InputSpec(size=16))
RESNET18 = ArchSpec(name="torchvision/resnet18", classes=3, input=InputSpec(size=32))


class TwoStages(Defense):
    """TTS (paper 000): with the skips of the last stage, then without."""

    name: ClassVar[str] = "two-stages"
    last: str = "layer3"
    factor: float = 0.0

    def phases(self, _task):
        off = {"skip": {self.last: self.factor}}
        return [Phase("with skips", 1), Phase("without", 1, variants=off)]


class Removed(Defense):
    """RoLSS (paper 000): never any skips in the last stage."""

    name: ClassVar[str] = "removed"

    def architecture(self, arch):
        return arch.model_copy(update={"variants": {"skip": {"layer3": 0.0}}})


class Energetic(Defense):
    """A penalty on what leaves the head."""

    name: ClassVar[str] = "energetic"
    weight: float = 1.0

    def watches(self, task):
        return (task.head_end,)

    def objective(self, trace):
        (feature,) = trace.watched.values()
        return self.weight * feature.square().mean()


class Accountant(Defense):
    name: ClassVar[str] = "accountant"

    def train_with(self, net, optimizer, task):
        return Trainer(net, optimizer, None, lambda: {"epsilon": 1.5, "rows": task.rows})


def small(arch: ArchSpec = RESNET8, **changes):
    return order(arch=arch, head_end="layer1", tail_start=None, **changes)


def weights(halves):
    parts = (halves.head, *halves.bodies, halves.tail)
    return {name: value for part in parts for name, value in part_state(part).items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_the_network_is_deployed_as_the_last_phase_left_it(tmp_path):
    halves = prepare(Stack([TwoStages()]), small(folder=tmp_path / "kept"))
    assert halves.arch.variants == {"skip": {"layer3": 0.0}}
    assert halves.facts["phases"] == [["with skips", 1], ["without", 1]]
    net = build(halves.arch, seed=0)
    net.net.load_state_dict(weights(halves), strict=False)
    pixels = images().floats("cpu")
    with torch.no_grad():
        logits = halves.logits(pixels, FreeDraw(torch.Generator()))
        assert torch.allclose(logits, net.eval()(pixels), atol=1e-5)
        net.net.layer3[0].skip = 1.0
        assert not torch.allclose(logits, net(pixels), atol=1e-2)
    watch = Killer(0)
    again = prepare(Stack([TwoStages()]), small(folder=tmp_path / "kept", progress=watch))
    assert watch.names == []
    assert again.arch == halves.arch
    assert equal(weights(again), weights(halves))


@pytest.mark.parametrize(
    ("arch", "stack"),
    [
        (RESNET8, Stack([TwoStages(factor=0.2)])),
        (RESNET8, Stack([Removed(), Energetic()])),
        (RESNET18, Stack([TwoStages(last="layer4")])),
    ],
)
def test_a_server_rebuilds_a_varied_body_without_the_defence(tmp_path, arch, stack):
    """Also one whose projections were trained and are gone with their skip."""
    recipe = TrainRecipe(epochs=1, batch_size=8)
    some = images(16)
    if arch.input.size != 16:
        some = dataclasses.replace(some, images=some.images.repeat(1, 1, 2, 2))
    halves = prepare(stack, small(arch, images=some, recipe=recipe))
    assert halves.arch.variants != {}
    kept = weights(halves)
    if arch is RESNET18:
        assert "layer3.0.downsample.0.weight" in kept
        assert "layer4.0.downsample.0.weight" not in kept
    secret = order().secret
    write_deployment(
        tmp_path, halves, defended=defenses.parse("none"), secret=secret, classes=CLASSES
    )
    client = ClientHalf.load(tmp_path / "client", defenses.parse)
    server = ServerHalf.load(tmp_path / "server")
    assert server.manifest.arch.variants == halves.arch.variants
    pixels = some.floats("cpu")
    with torch.no_grad():
        answer = server.bodies[0](client.head(pixels))
        wanted = halves.logits(pixels, KeyedDraw(client.secret, "id"))
    assert torch.allclose(client.tail(answer), wanted, atol=1e-6)


def test_a_term_shrinks_what_it_watches():
    pixels = images().floats("cpu")
    heads = [prepare(Stack(stack), small()).head for stack in ([], [Energetic(weight=5.0)])]
    with torch.no_grad():
        energies = [float(head(pixels).square().mean()) for head in heads]
    assert energies[1] < 0.7 * energies[0]


def test_what_has_a_hook_in_training_is_trained_though_weights_are_there():
    trained = build(RESNET8, seed=9).net.state_dict()
    plain = prepare(Stack([]), small(trained=trained))
    assert equal(weights(plain), trained)
    taught = prepare(Stack([Energetic()]), small(trained=trained))
    assert not equal(weights(taught), trained)


def test_facts_of_the_hands_are_in_the_facts_of_the_deployment():
    halves = prepare(Stack([Accountant()]), small())
    assert halves.facts["trained with"] == {"epsilon": 1.5, "rows": 48}
    assert "phases" not in halves.facts


@pytest.mark.parametrize("defense", [TwoStages(), Energetic(), Accountant()])
def test_who_trains_several_bodies_by_itself_refuses_what_it_would_not_hear(defense):
    watch, (owner,) = Killer(0), defenses.parse("ensembler:N=2,P=1").defenses
    with pytest.raises(BadInput, match=f"'{defense.name}' beside 'ensembler'.*would be ignored"):
        prepare(Stack([defense, owner]), small(progress=watch))
    assert watch.names == []
