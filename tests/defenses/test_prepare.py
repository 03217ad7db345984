"""One way from an order to halves: what is trained, what is taken, what is kept."""

import dataclasses
from typing import ClassVar

import pytest
import torch
from orders import ARCH, Killer, images, order

import defenses
from defenses import Stack
from defenses.parts.noise import Noise
from defenses.parts.prepare import Finishes, prepare
from splitlab.contracts import Defense
from splitlab.deployment.halves import Halves
from splitlab.errors import BadInput, Mismatch
from splitlab.models import build
from splitlab.randomness import FreeDraw
from splitlab.split import part_state

PIXELS = images().floats("cpu")


class Loud(Defense):
    """z' = z + 3: a network that learns with it is another one."""

    name: ClassVar[str] = "loud"
    retrains: ClassVar[bool] = True

    def protector(self, feature_shape, secret):
        del secret
        return Noise(torch.add, lambda *_: torch.zeros(()), torch.full(feature_shape, 3.0))


class Quiet(Loud):
    """The same noise, on a network that was trained without."""

    name: ClassVar[str] = "quiet"
    retrains: ClassVar[bool] = False


class Halved(Defense):
    """y' = y / 2, after the body."""

    name: ClassVar[str] = "halved"
    retrains: ClassVar[bool] = True

    def recombine(self, outputs, draw):
        del draw
        return [output / 2 for output in outputs]


class Last(Finishes, Defense):
    """Writes down that it was asked, and after whom."""

    name: ClassVar[str] = "last"
    mark: int = 0

    def finish(self, halves, order):
        del order
        marks = [*halves.facts.get("marks", []), self.mark]
        return dataclasses.replace(halves, facts={**halves.facts, "marks": marks})


class Charges(Defense):
    """A term of the loss, from an activation."""

    name: ClassVar[str] = "charges"

    def watches(self, task):
        del task
        return ("block1",)

    def objective(self, trace):
        return trace.watched["block1"].square().mean()


class Stretches(Defense):
    """A schedule of its own."""

    name: ClassVar[str] = "stretches"

    def phases(self, task):
        del task
        return []


@pytest.fixture(scope="module")
def trained():
    return build(ARCH, seed=11).net.state_dict()


def weights(halves: Halves):
    parts = (halves.head, *halves.bodies, halves.tail)
    return {k: v for part in parts for k, v in part_state(part).items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("stack", [Stack([]), Stack([Quiet()]), defenses.parse("laplace")])
def test_what_needs_no_training_takes_the_trained_network(stack, trained):
    halves = prepare(stack, order(trained=trained, progress=(watch := Killer(0))))
    assert equal(weights(halves), trained)
    assert watch.names == []
    assert len(halves.protectors) == len(stack.defenses)
    assert halves.selector.total == len(halves.bodies) == 1


@pytest.mark.parametrize("stack", [Stack([Loud()]), Stack([Halved()])])
def test_what_the_network_learns_with_is_in_place_while_it_trains(stack, trained):
    plain = prepare(Stack([]), order())
    halves = prepare(stack, order(trained=trained))
    assert not equal(weights(halves), trained)
    assert not equal(weights(halves), weights(plain))


def test_only_those_that_retrain_act_in_training():
    alone, beside = (prepare(Stack(d), order()) for d in ([Loud()], [Loud(), Quiet()]))
    assert equal(weights(alone), weights(beside))
    assert len(beside.protectors) == 2
    forced = prepare(Stack([Loud(), Quiet()]), order(train_with_defense=True))
    assert not equal(weights(alone), weights(forced))


def test_those_that_finish_do_so_in_order(trained):
    halves = prepare(Stack([Last(mark=1), Quiet(), Last(mark=2)]), order(trained=trained))
    assert halves.facts["marks"] == [1, 2]


def test_a_finished_network_is_kept_and_bound_to_its_run(tmp_path):
    first = prepare(Stack([Loud()]), order(folder=tmp_path))
    watch = Killer(0)
    again = prepare(Stack([Loud()]), order(folder=tmp_path, progress=watch))
    assert watch.names == []
    assert equal(weights(first), weights(again))
    assert first.facts == again.facts
    assert not list(tmp_path.glob("checkpoint*"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    with pytest.raises(Mismatch, match=r"another training \(seed differ"):
        prepare(Stack([Loud()]), order(folder=tmp_path, seed=1))


def test_weights_of_another_network_are_refused():
    other = build(ARCH.model_copy(update={"classes": 7}), seed=0).net.state_dict()
    with pytest.raises(Mismatch, match="weights of another network"):
        prepare(Stack([]), order(trained=other))


def test_the_halves_compose_to_the_network(trained):
    net = build(ARCH, seed=0)
    net.net.load_state_dict(trained)
    halves = prepare(Stack([]), order(trained=trained))
    with torch.no_grad():
        logits = halves.logits(PIXELS, FreeDraw(torch.Generator()))
        assert torch.equal(logits, net.eval()(PIXELS))


def test_a_defence_between_body_and_tail_wants_a_tail():
    with pytest.raises(BadInput, match="--tail-start"):
        prepare(Stack([Halved()]), order(tail_start=None))
    with pytest.raises(BadInput, match="--tail-start"):
        prepare(defenses.parse("dropout-ensemble:N=2"), order(tail_start=None))


@pytest.mark.parametrize("owner", ["ensembler:N=1,P=1", "dropout-ensemble:N=1"])
@pytest.mark.parametrize(
    ("beside", "words"),
    [(Charges(), "'charges' .* objective, watches would"), (Stretches(), "'stretches' .* phases")],
)
def test_what_the_owner_of_the_bodies_would_ignore_is_refused(owner, beside, words):
    (alone,) = defenses.parse(owner).defenses
    watch = Killer(0)
    with pytest.raises(BadInput, match=f"{words}.*'{alone.name}' trains its bodies by itself"):
        prepare(Stack([beside, alone]), order(progress=watch))
    assert watch.names == []


def test_dropout_ensemble_uses_all_bodies_and_drops_in_training_and_use(tmp_path):
    stack = defenses.parse("dropout-ensemble:N=3,level=0.5")
    halves = prepare(stack, order(folder=tmp_path))
    assert halves.selector.chosen == (0, 1, 2)
    assert halves.tail.input_shape == (96, 1, 1)
    assert not equal(part_state(halves.bodies[0]), part_state(halves.bodies[1]))
    with torch.no_grad():
        one, same, other = (
            halves.logits(PIXELS, FreeDraw(torch.Generator().manual_seed(s)), stack)
            for s in (1, 1, 2)
        )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    kept = torch.ones(64, 1000)
    dropped = stack.recombine([kept, kept], FreeDraw(torch.Generator().manual_seed(0)))
    assert {*dropped[0].unique().tolist()} == {0.0, 2.0}
    assert dropped[0].mean() == pytest.approx(1, abs=0.02)
    assert not torch.equal(*dropped)
    again = prepare(stack, order(folder=tmp_path, progress=Killer(0)))
    assert equal(weights(again), weights(halves))
