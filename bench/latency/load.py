"""How much of the machine others took while something was measured (Linux; else unknown)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

BUSY_FIELDS = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal of a core's line; idle and iowait are free time."""


def busy_ticks(stat: str, cores: Sequence[int]) -> int:
    """Ticks in which these cores worked for anybody, by the text of /proc/stat."""
    names = {f"cpu{core}" for core in cores}
    total = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name in names:
            total += sum(int(fields[i]) for i in BUSY_FIELDS if i < len(fields))
    return total


def process_ticks(stat: str) -> int:
    """Ticks that a process took, by the text of /proc/PID/stat; its name may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def others_share(busy_s: float, own_s: float, cores: int, wall_s: float) -> float:
    """Share of the cores' time that others took, 0 to 1."""
    if wall_s <= 0 or cores < 1:
        return 0.0
    return min(1.0, max(0.0, busy_s - own_s) / (cores * wall_s))


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None


def usable_cores() -> tuple[int, ...]:
    """Cores that this process and its children may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


class LoadMeter:
    """Adds up what the machine and these processes did, over any number of spans of time."""

    def __init__(self) -> None:
        self.cores = usable_cores()
        self._busy, self._own, self._wall, self._known = 0.0, 0.0, 0.0, True

    @contextmanager
    def watch(self, processes: Sequence[int]) -> Iterator[None]:
        """Count what happens inside; this process is one of its own.

        Args:
            processes: ids of others that are part of what is measured; they outlive the block.
        """
        mine = (os.getpid(), *processes)
        before, started = self._ticks(mine), time.perf_counter()
        yield
        after, wall = self._ticks(mine), time.perf_counter() - started
        self._wall += wall
        if before is None or after is None:
            self._known = False
            return
        second = float(os.sysconf("SC_CLK_TCK"))
        self._busy += (after[0] - before[0]) / second
        self._own += (after[1] - before[1]) / second

    @property
    def others(self) -> float | None:
        """Share of the cores' time that others took; None where the system does not tell."""
        if not self._known or not self._wall:
            return None
        return round(others_share(self._busy, self._own, len(self.cores), self._wall), 4)

    @property
    def seconds(self) -> float:
        """That were watched."""
        return round(self._wall, 3)

    def _ticks(self, processes: Sequence[int]) -> tuple[int, int] | None:
        try:
            busy = busy_ticks(Path("/proc/stat").read_text(), self.cores)
            own = sum(process_ticks(Path(f"/proc/{pid}/stat").read_text()) for pid in processes)
        except (OSError, ValueError, IndexError):
            return None
        return busy, own
