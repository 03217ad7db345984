"""One row of `bench perf hostile`: what was found, and whether it will do."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.perf.hostile.raw_http2 import Sent
from bench.perf.serving.scenes import CallTimes
from bench.perf.soak.server import GROWTH_MIB
from bench.perf.verdict import judged


@dataclass
class Treatment:
    """What became of an honest client's requests.

    Args:
        at: when each answer was there, in seconds since the attack began.
        seconds: that each answer took.
        wrong: answers that are not what the network says.
        failed: requests without an answer, by the kind of error.
        first_failure: in the error's words.
    """

    at: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    first_failure: str = ""

    def answered_seconds(self, whole: int) -> int:
        """Of the first `whole` seconds, those with an answer."""
        return len({int(at) for at in self.at if at < whole})

    def longest_wait(self, until: float) -> float:
        """Most seconds between two answers, the beginning and the end standing for one each."""
        times = [0.0, *self.at, max(until, *self.at, 0.0)]
        return max(after - before for before, after in itertools.pairwise(times))


@dataclass(frozen=True)
class Resident:
    """MiB of the server, which an attack makes start all of its threads.

    Args:
        fresh: when it had met the client alone.
        before: after a first turn of the same attack, whose threads and buffers it keeps.
        peak: the most in the attack and until it was over for a while.
        after: then.
    """

    fresh: float
    before: float
    peak: float
    after: float

    @property
    def growth(self) -> float:
        return self.after - self.before


@dataclass(frozen=True)
class Hostile:
    """One attack.

    Args:
        seconds: that it took.
        sent: by the strangers.
        refused: by the server, by its own reasons.
        calls: that it ended, those of the client among them, by their code.
        memory: None where the system does not tell.
        alive: whether the server still ran, and answered the client, when it was over.
        alone: the client's times without attack; None for that row itself.
    """

    seconds: float
    sent: Sent
    refused: dict[str, int]
    calls: dict[str, int]
    asked: Treatment
    memory: Resident | None
    alive: bool
    alone: CallTimes | None
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def times(self) -> CallTimes | None:
        """Of the client's answers; None without any."""
        return CallTimes.of(self.asked.seconds) if self.asked.seconds else None

    @property
    def memory_is_flat(self) -> bool | None:
        return None if self.memory is None else self.memory.growth <= GROWTH_MIB

    def as_dict(self) -> dict[str, Any]:
        asked, times, whole = self.asked, self.times, max(1, int(self.seconds))
        sound = self.alive and not asked.wrong and self.memory_is_flat is not False
        ratio = asked.answered_seconds(whole) / whole if sound else 0.0
        found = {
            "seconds": self.seconds,
            "sent": asdict(self.sent),
            "refused": self.refused,
            "calls": self.calls,
            "answered": len(asked.seconds),
            "failed": dict(asked.failed),
            "first_failure": asked.first_failure,
            "wrong": asked.wrong,
            "longest_wait_s": asked.longest_wait(self.seconds),
            "request": None if times is None else asdict(times),
            "request_alone": None if self.alone is None else asdict(self.alone),
            "resident_mib": None if self.memory is None else asdict(self.memory),
            "memory_is_flat": self.memory_is_flat,
            "alive": self.alive,
            "server": self.server,
        }
        return judged(found, ratio, 1.0)
