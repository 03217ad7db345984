"""Progress where no terminal is: plain lines for a pipe or a log, at a sensible pace."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import Tensor

from splitlab.training.progress import Work

EVERY_SECONDS = 10.0
"""Between two lines of one piece of work."""
WORTH_SECONDS = 2.0
"""Work that took less ends without a word."""


class PlainProgress:
    """One line when the first work begins, one every `EVERY_SECONDS`, one at a long work's end.

    Work that is done already begins without a word.

    Args:
        say: prints one line.
        clock: monotonic seconds.
    """

    def __init__(
        self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._clock = say, clock
        self._begun = False

    def task(self, name: str, total: int, done: int = 0) -> Work:
        if not self._begun and done < total:
            self._begun = True
            self._say(f"{name}: begins, {done:,} of {total:,} done")
        return _PlainWork(self._say, self._clock, name, total, done)


class _PlainWork:
    def __init__(
        self,
        say: Callable[[str], None],
        clock: Callable[[], float],
        name: str,
        total: int,
        done: int,
    ) -> None:
        self._say, self._clock = say, clock
        self._name, self._total = name, total
        self._first = self._done = done
        self._start = self._said = clock()
        self._open = True

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        self._done += count
        now = self._clock()
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        told = "" if loss is None else f", loss {float(loss):z.3f}"
        self._say(f"{self._name}: {self._done:,} of {self._total:,}{told}{self._left(now)}")

    def _left(self, now: float) -> str:
        here = self._done - self._first
        if here <= 0 or self._done > self._total:
            return ""
        seconds = (now - self._start) * (self._total - self._done) / here
        return f", about {seconds:z,.0f} s left"

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        took = self._clock() - self._start
        if took >= WORTH_SECONDS:
            done = "done" if self._done >= self._total else f"ended at {self._done:,}"
            self._say(f"{self._name}: {done}, {self._total:,} in all, {took:z,.0f} s")
