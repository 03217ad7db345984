"""A network that learns with a defence and begins from given weights."""

from typing import ClassVar

import pytest
import torch
from orders import ARCH, order

import defenses
from defenses.parts.begin import begin_from
from defenses.parts.prepare import prepare
from defenses.parts.stack import Stack
from splitlab.contracts import ArchSpec, Defense
from splitlab.errors import Mismatch
from splitlab.models import build
from splitlab.split import part_state
from splitlab.training import TrainRecipe

NONE = TrainRecipe(epochs=0)
RESIDUAL = ArchSpec(name="torchvision/resnet18", classes=3, input=ARCH.input)


class Changed(Defense):
    """Another architecture, learned with."""

    name: ClassVar[str] = "changed"
    skip: tuple[float, ...] | None = None
    norm: str | None = None
    width: int | None = None

    def architecture(self, arch):
        changes = {"skip": self.skip and list(self.skip), "norm": self.norm}
        variants = {name: value for name, value in changes.items() if value is not None}
        arguments = {"width": self.width} if self.width else {}
        return arch.model_copy(update={"variants": variants, "arguments": arguments})

    def objective(self, trace):
        return trace.logits.square().mean()


@pytest.fixture(scope="module")
def given():
    return build(ARCH, seed=11).net.state_dict()


def weights(halves):
    parts = (halves.head, *halves.bodies, halves.tail)
    return {k: v for part in parts for k, v in part_state(part).items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_training_with_a_defence_begins_from_what_is_given(given, tmp_path):
    stack = defenses.parse("gaussian:level=0.1")
    words = {"train_with_defense": True, "begins": given, "folder": tmp_path}
    halves = prepare(stack, order(**words, recipe=NONE))
    assert equal(weights(halves), given)
    learned = prepare(stack, order(**{**words, "folder": None}))
    assert not equal(weights(learned), given)
    other = {name: value + 1 for name, value in given.items()}
    with pytest.raises(Mismatch):  # what is kept is bound to what it began from
        prepare(stack, order(**{**words, "begins": other}, recipe=NONE))


def test_nothing_up_to_a_frozen_point_learns(given):
    stack = defenses.parse("gaussian:level=0.1")
    found = weights(prepare(stack, order(train_with_defense=True, begins=given, freeze="block1")))
    still = {name for name, value in given.items() if torch.equal(found[name], value)}
    head = {name for name in given if name.startswith("block1.")}
    assert head
    assert head <= still < {*given}


def test_what_a_defence_drops_has_no_place_and_all_else_is_taken():
    state = build(RESIDUAL, seed=3).net.state_dict()
    net = build(Changed(skip=(1, 1, 1, 0)).architecture(RESIDUAL), seed=4)
    left = begin_from(net, state)
    own = net.net.state_dict()
    assert all(torch.equal(own[name], state[name]) for name in own)
    assert {*left} == state.keys() - own.keys()
    norms = build(Changed(norm="group").architecture(RESIDUAL), seed=4)
    left = begin_from(norms, state)
    assert left
    assert all(name.rpartition(".")[2].startswith(("running", "num_b")) for name in left)


def test_what_does_not_fit_is_refused_by_name(given):
    stack = Stack([Changed(width=16)])
    with pytest.raises(Mismatch, match=r"block1\S* \(16, .*for \(8, .*leave out --weights"):
        prepare(stack, order(begins=given))
    missing = {name: value for name, value in given.items() if name != "fc.bias"}
    with pytest.raises(Mismatch, match=r"fc\.bias \(3,\) is new"):
        begin_from(build(ARCH, seed=0), missing)
