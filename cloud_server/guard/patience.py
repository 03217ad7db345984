"""An end to calls whose peer keeps the server waiting."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import grpc

TICK_SECONDS = 0.25


class Patience:
    """Cancels calls whose peer keeps them waiting for too long; one thread watches over all.

    Args:
        seconds: how long a wait may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock, self._over = threading.Lock(), threading.Event()
        self._waiting: dict[int, tuple[float, grpc.ServicerContext, Callable[[], object]]] = {}
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
        self._thread.start()

    def add(
        self,
        context: grpc.ServicerContext,
        seconds: float | None = None,
        late: Callable[[], object] = lambda: None,
    ) -> int:
        """A wait begins; returns its number.

        Args:
            seconds: that it may take; None for as many as all.
            late: told, before the call is cancelled, that it took longer.
        """
        number = next(self._numbers)
        with self._lock:
            until = time.monotonic() + (self._seconds if seconds is None else seconds)
            self._waiting[number] = until, context, late
        return number

    def remove(self, number: int | None) -> None:
        """It is over; None and what is over already are no mistake."""
        with self._lock:
            if number is not None:
                self._waiting.pop(number, None)

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            now = time.monotonic()
            with self._lock:
                numbers = [n for n, (until, _, _) in self._waiting.items() if until < now]
                late = [self._waiting.pop(number) for number in numbers]
            for _, context, tell in late:
                tell()
                context.cancel()
