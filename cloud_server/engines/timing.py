"""How long an engine takes: measured where and when it is to be used."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from cloud_server.engines.contract import Arranged, EngineTask, Outputs, Runner

REPEATS = 3
BUDGET_SECONDS = 0.05
"""Of one engine and batch: short runs are repeated until a busy moment counts for nothing."""
WORTH = 1.1
"""A second copy of the bodies is worth so much of speed."""


class Timed(NamedTuple):
    """A way to run the bodies, and its seconds with one row and with several."""

    run: Runner
    how: str
    alone: float
    together: float


def enough(one: Timed, many: Timed) -> Timed | None:
    """Which suffices alone: the fastest with `one` row or with `many`; None where both are worth
    their memory, as either alone would be slower at the other's work by more than `WORTH`.
    """
    if many.alone <= WORTH * one.alone:
        return many
    return one if one.together <= WORTH * many.together else None


def fastest(ways: Mapping[str, Callable[[EngineTask], Runner]], task: EngineTask) -> Arranged:
    """What runs fastest; with one row and with several it may be two ways, each with its bodies."""
    one: Timed | None = None
    many: Timed | None = None
    for how, make in ways.items():
        run = make(task)
        timed = Timed(run, how, seconds(run, task.example[:1]), seconds(run, task.example))
        if one is None or timed.alone < one.alone:
            one = timed
        if many is None or timed.together < many.together:
            many = timed
    assert one is not None
    assert many is not None
    if single := enough(one, many):
        return Arranged(single.run, single.how)
    alone, together = one.run, many.run

    def run_either(feature: Tensor) -> Outputs:
        return alone(feature) if len(feature) == 1 else together(feature)

    return Arranged(run_either, f"{one.how} for a single row, {many.how} for several")


def seconds(run: Runner, example: Tensor) -> float:
    """The best of as many runs as the budget has room for; the first warms up."""
    run(example)
    found: list[float] = []
    while len(found) < REPEATS or sum(found) < BUDGET_SECONDS:
        started = time.perf_counter()
        run(example)
        found.append(time.perf_counter() - started)
    return min(found)
