"""Long work done for a few steps only, to learn what all of it would take.

The work itself runs, handed a `Rehearsal` where else its progress is shown. A loop that has told
it of enough steps is left (`goes_on`); what is behind the loop runs as ever, on an unfinished
result. So an estimate follows whatever is changed in the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 3
"""Of a loop; the first warms up and is not counted where others follow."""
LONG = 0.2
"""Seconds after which fewer steps are enough."""


class Enough(Exception):
    """A loop has been seen for long enough; raised by `advance`."""


class OutOfTime(Exception):
    """A rehearsal as a whole takes too long; no loop catches it.

    Args:
        at: the name of the work that it had come to.

    `loops` are those that had been seen by then.
    """

    def __init__(self, at: str) -> None:
        super().__init__(at)
        self.loops: tuple[Loop, ...] = ()


def settled() -> None:
    """Wait for what a GPU was given to do, so that a clock tells of it."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def goes_on(advance: Callable[..., object], *told: object) -> bool:
    """Tell of a step, and whether the loop shall go on: always, but in a rehearsal."""
    try:
        advance(*told)
    except Enough:
        return False
    return True


@dataclass(frozen=True)
class Loop:
    """One piece of work as it was begun.

    Args:
        total: units of all of it.
        unit: seconds that one takes.
    """

    name: str
    total: float
    unit: float

    @property
    def seconds(self) -> float:
        return self.total * self.unit


class Rehearsal:
    """A `Progress` that ends every loop after a few steps and keeps what they took.

    Args:
        clock: monotonic seconds.
        limit: seconds that the rehearsal as a whole may take; then `OutOfTime`.
    """

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, limit: float = float("inf")
    ) -> None:
        self._clock, self._until = clock, clock() + limit
        self._works: list[_Rehearsed] = []

    def task(self, name: str, total: int, done: int = 0) -> _Rehearsed:
        if self._clock() > self._until:
            raise OutOfTime(name)
        work = _Rehearsed(self._clock, self._until, name, total - done)
        self._works.append(work)
        return work

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Every loop that made a step, in the order of their beginnings."""
        return tuple(Loop(w.name, w.total, w.unit) for w in self._works if w.steps)

    @property
    def inside(self) -> float:
        """Seconds that were spent in these loops."""
        return sum(work.last - work.begun for work in self._works if work.steps)


class _Rehearsed:
    def __init__(self, clock: Callable[[], float], until: float, name: str, total: int) -> None:
        self._clock, self._until = clock, until
        self.name, self.total = name, total
        self.begun = self.last = self._warm = clock()
        self.steps, self._units, self._first = 0, 0, 0
        self._over = False

    @property
    def unit(self) -> float:
        """Seconds a unit, without the first step where there are others."""
        if self._units > self._first:
            return (self.last - self._warm) / (self._units - self._first)
        return (self.last - self.begun) / max(1, self._units)

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:  # noqa: ARG002
        if self._over:  # another loop of the same work, which has been seen
            raise Enough(self.name)
        settled()
        self.last = self._clock()
        self.steps, self._units = self.steps + 1, self._units + count
        if self.steps == 1:
            self._warm, self._first = self.last, self._units
        if self.last > self._until:
            raise OutOfTime(self.name)
        spent = self.last - self.begun
        often = self.steps >= STEPS or (self.steps > 1 and spent > LONG) or spent > 5 * LONG
        if self._units < self.total and often:
            self._over = True
            raise Enough(self.name)

    def close(self) -> None:
        pass
