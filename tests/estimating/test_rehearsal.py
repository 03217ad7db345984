"""A rehearsal: loops end after a few steps, and what is told is what all of them would take."""

import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from adversary.inversion.rmle.matching import MatchingSettings, match_features
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known, synthesise
from splitlab.contracts import InputSpec
from splitlab.estimating import Bounded, Clock
from splitlab.training import (
    Enough,
    OutOfTime,
    Rehearsal,
    Silent,
    State,
    TensorSource,
    fit,
    goes_on,
)


class Ticks:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def trained(progress, epochs):
    """One linear layer on 12 images, 4 a step; how many steps it made."""
    net, steps = nn.Linear(12, 1), itertools.count()

    def step(state, batch):
        next(steps)
        return {
            "net": F.mse_loss(state.modules["net"](batch.images.flatten(1)).sum(), torch.ones(()))
        }

    images = torch.zeros(12, 3, 2, 2, dtype=torch.uint8)
    state = State({"net": net}, {"net": torch.optim.SGD(net.parameters(), lr=0.1)})
    history = fit(
        step, state, TensorSource((images,)), epochs=epochs, batch_size=4, seed=0, progress=progress
    )
    return next(steps), history


def test_a_training_ends_after_three_steps_of_fifty_epochs():
    watch = Rehearsal(lambda: 0.0)
    steps, history = trained(watch, 50)
    assert steps == 3
    (loop,) = watch.loops
    assert loop.total == 600
    assert history.epochs == 1


def test_a_training_that_is_not_rehearsed_does_all_its_steps():
    assert trained(Silent(), 5)[0] == 15


def test_the_first_step_is_not_counted_and_later_loops_of_the_same_work_neither():
    clock = Ticks()
    watch = Rehearsal(clock)
    clock.now = 10
    work = watch.task("descent", 1000)
    for seconds in (0.9, 0.05, 0.05):
        clock.now += seconds
        if not goes_on(work.advance, 5):
            break
    (loop,) = watch.loops
    assert (loop.total, loop.unit) == (1000, pytest.approx(0.01))
    assert watch.inside == pytest.approx(0.95)
    clock.now += 100
    assert not goes_on(work.advance, 5)
    assert watch.loops == (loop,)


def test_a_step_that_takes_long_is_the_only_one():
    clock = Ticks()
    work = Rehearsal(clock).task("slow", 100)
    clock.now = 30
    with pytest.raises(Enough):
        work.advance(10)
    assert work.unit == 3


def test_a_loop_that_is_short_is_done_in_full():
    work = Rehearsal(lambda: 0.0).task("short", 3)
    assert [goes_on(work.advance, 1) for _ in range(3)] == [True] * 3


def test_a_limit_ends_a_rehearsal_and_tells_what_was_seen():
    clock = Ticks()

    def work(watch):
        task = watch.task("first", 10)
        for _ in range(2):
            clock.now += 3
            goes_on(task.advance, 1)
        clock.now += 100
        watch.task("second", 10)

    with pytest.raises(OutOfTime) as caught:
        Clock(clock).rehearsed(work, 5.0)
    assert str(caught.value) == "second"
    assert [loop.name for loop in caught.value.loops] == ["first"]


def test_a_clock_tells_loops_from_the_rest():
    clock = Ticks()

    def work(watch):
        clock.now += 2
        task = watch.task("loop", 100)
        for _ in range(3):
            clock.now += 0.5
            if not goes_on(task.advance, 1):
                break
        clock.now += 4

    took = Clock(clock).rehearsed(work)
    assert took.rest == pytest.approx(6)
    assert took.seconds == pytest.approx(6 + 100 * 0.5)


def test_a_clock_repeats_what_is_quick_and_takes_the_fastest():
    clock, taken = Ticks(), iter([5.0, 0.03, 0.01, 0.02])

    def work():
        clock.now += next(taken)

    slow = Clock(clock)
    assert slow.seconds(work) == pytest.approx(5.0)
    taken = iter([0.1, 0.03, 0.01, 0.02])
    assert slow.seconds(work) == pytest.approx(0.01)


def test_descents_and_syntheses_end_too():
    watch = Rehearsal(lambda: 0.0)
    work = watch.task("match", 400)
    calls = itertools.count()

    def head(images):
        next(calls)
        return images.mean((2, 3))

    given = InputSpec(size=8)
    match = match_features(
        head,
        torch.zeros(2, 3),
        [MatchingSettings(200, 0.1, 0.0, 0.0, True)] * 2,
        given,
        torch.Generator().manual_seed(0),
        advance=work.advance,
    )
    assert next(calls) == 3
    assert match.images.isfinite().all()
    steps = watch.task("synthesis", 2 * 2000)
    known = Known((nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(),), given, False)
    settings = SynthesisSettings(steps=2000, batch_size=2, classes=0.0)
    made = synthesise(known, settings, seed=0, number=0, device=torch.device("cpu"), work=steps)
    assert watch.loops[1].total == 4000
    assert made.images.shape == (2, 3, 8, 8)


def test_rehearsals_together_are_bounded():
    clock = Ticks()
    meter = Bounded(Clock(clock), 10.0, clock)

    def work(_watch):
        clock.now += 6

    assert meter.rehearsed(work).rest == pytest.approx(6)
    assert meter.rehearsed(work).rest == pytest.approx(6)
    with pytest.raises(OutOfTime, match="the estimate"):
        meter.rehearsed(work)
