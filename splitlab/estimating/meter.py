"""What a piece of work takes, by a clock; or by a table, in tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from splitlab.training import Loop, OutOfTime, Progress, Rehearsal
from splitlab.training.rehearsal import settled


@dataclass(frozen=True)
class Took:
    """What a rehearsal tells.

    Args:
        rest: seconds outside of the loops that told of their steps; all of it was done.
        loops: what these would take.
    """

    rest: float
    loops: tuple[Loop, ...] = ()

    @property
    def seconds(self) -> float:
        """Of all of it, as large as it was rehearsed."""
        return self.rest + sum(loop.seconds for loop in self.loops)


class Meter(Protocol):
    """Measures by doing."""

    def seconds(self, work: Callable[[], object]) -> float:
        """What `work` takes once it is warm."""
        ...

    def rehearsed(self, work: Callable[[Progress], object], limit: float = float("inf")) -> Took:
        """What `work` takes, of which long loops are done for a few steps.

        Args:
            limit: seconds that the rehearsal may take.

        Raises:
            OutOfTime: it takes longer.
        """
        ...


class Clock:
    """A meter by wall-clock time, so by this machine as busy as it is now.

    Args:
        clock: monotonic seconds.
        most: seconds for which one thing is done again and again, the first time not among them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        most: float = 0.2,
    ) -> None:
        self._clock, self._most = clock, most

    def seconds(self, work: Callable[[], object]) -> float:
        """The fastest of up to three times after a first one; that one where it took long."""
        first = self._once(work)
        if first > 2 * self._most:
            return first
        best, spent = float("inf"), 0.0
        for _ in range(3):
            taken = self._once(work)
            best, spent = min(best, taken), spent + taken
            if spent > self._most:
                break
        return best

    def rehearsed(self, work: Callable[[Progress], object], limit: float = float("inf")) -> Took:
        watch = Rehearsal(self._clock, limit)
        try:
            taken = self._once(lambda: work(watch))
        except OutOfTime as error:
            error.loops = watch.loops
            raise
        return Took(max(0.0, taken - watch.inside), watch.loops)

    def _once(self, work: Callable[[], object]) -> float:
        settled()
        began = self._clock()
        work()
        settled()
        return self._clock() - began


class Bounded:
    """Another meter, whose rehearsals together take no longer than so many seconds.

    Args:
        clock: monotonic seconds.
    """

    def __init__(
        self, meter: Meter, seconds: float, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._meter, self._clock, self._until = meter, clock, clock() + seconds

    def seconds(self, work: Callable[[], object]) -> float:
        return self._meter.seconds(work)

    def rehearsed(self, work: Callable[[Progress], object], limit: float = float("inf")) -> Took:
        left = self._until - self._clock()
        if left <= 0:
            raise OutOfTime("the estimate")
        return self._meter.rehearsed(work, min(limit, left))
