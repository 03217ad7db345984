"""What clients saw under `bench soak`, what was done to them, and whether that passes."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.perf.soak.server import GROWTH_MIB, SELF, ResidentMemory, Tap

EXPLAINED = frozenset({"ServerUnavailable"})
"""What a client may say while the server is dead or the cable cut; any other error is a defect."""
RETURN_SECONDS = 3.0
"""That a client may need to find a server that is there again: gRPC tries to connect at least every
1.2 s, and its last attempt may have come too early."""
LEAST_ANSWERED = 0.9
"""Of the requests; a server is away for seconds after a kill, and its clients give up and go on."""


@dataclass
class Account:
    """What clients saw and what was done to them.

    Args:
        wrong: of those answered: other rows than were asked for, NaN, or further from the truth
            than they may be.
        failed: class of our error -> requests.
        unexplained: those of them that no event explains: of another kind, or from a time when
            nothing happened.
        crashed: any other error, in words -> requests, or clients that ended with it.
        hung: clients that did not end in time when it was over.
        died: servers that ended by themselves, or not when they were told to.
        events: kind -> how many.
        windows: of each event in turn, from when until when it explains failures, in seconds.
        servers: memory of each server process, in turn.
        client: memory of this process.
        taps: what became of the tap of each server process, in turn; none without a tap.
        least: share of the requests that must be answered.
    """

    sent: int = 0
    answered: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    unexplained: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    died: int = 0
    events: Counter[str] = field(default_factory=Counter)
    windows: list[tuple[float, float]] = field(default_factory=list)
    servers: list[ResidentMemory] = field(default_factory=list)
    client: ResidentMemory = field(default_factory=lambda: ResidentMemory(SELF))
    taps: list[Tap] = field(default_factory=list)
    least: float = LEAST_ANSWERED
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, event: str, now: float) -> None:
        """An event begins."""
        with self.lock:
            self.events[event] += 1
            self.windows.append((now, math.inf))

    def end(self, now: float) -> None:
        """The event that began last is over: the server is there, and the cable whole."""
        with self.lock:
            self.windows[-1] = (self.windows[-1][0], now + RETURN_SECONDS)

    def fail(self, name: str, begun: float, ended: float) -> None:
        """A request that was sent at `begun` failed at `ended` with our error of that name."""
        with self.lock:
            self.failed[name] += 1
            met = any(start <= ended and begun <= end for start, end in self.windows)
            self.unexplained[name] += not (met and name in EXPLAINED)

    @property
    def complaints(self) -> list[str]:
        """Why the run did not pass, in words; empty where it did."""
        failed, crashed, odd = self.failed.total(), self.crashed.total(), +self.unexplained
        grown = max(m.growth or 0.0 for m in (*self.servers, self.client))
        share = self.answered / self.sent if self.sent else 0.0
        found = {
            "no request was answered": not self.answered,
            f"{share:z.1%} of the requests were answered, at least {self.least:z.1%} must be": (
                self.answered and share < self.least
            ),
            f"{odd.total()} failures that no event explains: {', '.join(odd)}": odd,
            f"{self.wrong} answers were wrong": self.wrong,
            f"{crashed} crashes: {', '.join(self.crashed)}": crashed,
            f"{self.sent} requests were sent, {self.answered} answered, {failed} failed and "
            f"{crashed} crashed; the rest is lost": self.sent != self.answered + failed + crashed,
            f"{self.hung} clients did not end": self.hung,
            f"{self.died} servers ended by themselves": self.died,
            f"memory grew by {grown:z.0f} MiB, {GROWTH_MIB:g} are allowed": grown > GROWTH_MIB,
        }
        return [words for words, so in found.items() if so]

    @property
    def passed(self) -> bool:
        return not self.complaints

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "sent": self.sent,
            "answered": self.answered,
            "least_answered": self.least,
            "failed": dict(self.failed),
            "explained": sorted(EXPLAINED),
            "crashed": dict(self.crashed),
            "wrong": self.wrong,
            "hung": self.hung,
            "died": self.died,
            "events": dict(self.events),
            "taps": [asdict(tap) for tap in self.taps],
            "server_memory": [memory.as_dict() for memory in self.servers],
            "client_memory": self.client.as_dict(),
            "growth_limit_mib": GROWTH_MIB,
            "complaints": self.complaints,
            "passed": self.passed,
        }
