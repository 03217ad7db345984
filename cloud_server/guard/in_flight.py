"""Requests under way: counted, so that a stop can finish them, and refused once it has begun."""

from __future__ import annotations

import threading
import time


class InFlight:
    """A context manager around each request; entering says whether it may be served."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._count = 0
        self._last_arrival = time.monotonic()
        self.draining = False

    def __enter__(self) -> bool:
        with self._condition:
            self._count += 1
            self._last_arrival = time.monotonic()
            return not self.draining

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._count -= 1
            self._condition.notify_all()

    def drain(self, seconds: float) -> bool:
        """Refuse from now on and wait for what is under way; whether all of it ended in time."""
        with self._condition:
            self.draining = True
            return self._condition.wait_for(lambda: self._count == 0, timeout=seconds)

    def wait_for_quiet(self, seconds: float, at_most: float) -> None:
        """Wait until nothing has arrived for `seconds`, but no longer than `at_most` in all.

        What was on its way when the stop began is then refused in words that a client retries on;
        gRPC itself would cancel it.
        """
        end = time.monotonic() + at_most
        with self._condition:
            while True:
                now = time.monotonic()
                left = min(self._last_arrival + seconds, end) - now
                if left <= 0:
                    return
                self._condition.wait(left)
