"""`bench perf attacks`: measure what is missing in a folder, compare, write, show."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bench.perf.attacks.measure import RaceJob, contenders, finished, our_attack, race
from bench.perf.attacks.prepare import Ground, require_contenders
from bench.perf.attacks.race import Seconds
from bench.perf.attacks.records import AttackRow, RowKey, read_row
from bench.perf.attacks.settings import (
    ComparisonSettings,
    keep_settings,
    kept_settings,
    require_same,
)
from bench.point.cache.store import Cache, beside
from splitlab.estimating import Forecast, memory_now
from splitlab.machine import commit
from splitlab.storage import alone
from splitlab.training import Progress
from splitlab.workers import side_by_side


@dataclass(frozen=True, eq=False)
class AttackComparison:
    """A folder, and what is to be in it.

    Args:
        workers: processes of one thread each, side by side; 0 for one a core.
        clock: by which a process counts its work.
    """

    folder: Path
    ground: Ground
    settings: ComparisonSettings
    workers: int = 1
    cache: Cache | None = None
    clock: Seconds = time.process_time

    @classmethod
    def of(
        cls,
        folder: Path,
        ground: Ground,
        budgets: tuple[float, ...],
        *,
        quick: bool = False,
        only: Sequence[str] = (),
        workers: int = 1,
        cache: Cache | None = None,
        clock: Seconds = time.process_time,
    ) -> AttackComparison:
        """
        Args:
            only: contenders; all of them where it is empty.

        Raises:
            BadInput: the folder was begun with other settings, or a contender has others now.
            UnknownName: `only` names none.
        """
        commit()  # of the code that was loaded
        settings = ground.settings(budgets, only or contenders(), quick=quick)
        if (was := kept_settings(folder)) is not None:
            require_same(was, settings, folder)
        require_contenders(settings.contenders)
        made = cls(folder, ground, settings, workers, cache, clock)
        made.missing()  # a row of other settings is refused before anything is trained
        return made

    def missing(self) -> list[RowKey]:
        """Rows that are not measured yet."""
        return [key for key in row_keys(self.settings) if finished(self.folder, key) is None]

    @property
    def count(self) -> int:
        """Processes side by side."""
        return self.workers or os.cpu_count() or 1

    def estimate(self) -> Forecast:
        """Each run is reckoned as the last budget: a peer takes that, one of ours what it takes."""
        keys, last = self.missing(), self.settings.budgets[-1]
        ours = sum(our_attack(key.contender) is not None for key in keys)
        count = max(1, min(self.count, len(keys)))
        if not keys:
            return Forecast(0, (), memory_now(), of="runs", finished=len(row_keys(self.settings)))
        return Forecast.of_stages(
            len(keys),
            {
                "peers, each for the last budget": (len(keys) - ours) * last / count,
                "ours, reckoned as long": ours * last / count,
            },
            memory_now() * count,
            () if self.ground.sources.weights else ("the network's training",),
            of="runs",
        )

    def execute(self, progress: Progress) -> None:
        """Measure what is missing; each row is kept as it is finished.

        Raises:
            SplitLabError: of a row, or another process writes into the folder.
        """
        with alone(self.folder):
            keep_settings(self.folder, self.settings)
            keys = set(self.missing())
            if not keys:
                return
            net = self.ground.network(self.cache or beside(self.folder), progress)
            every = self.ground.jobs(net, self.settings, self.folder, self.clock)
            jobs = [job for job in every if job.key in keys]
            work = progress.task("runs", len(every), len(every) - len(jobs))
            for _ in _each(jobs, self.count, progress):
                work.advance(1)
            work.close()


def _each(jobs: Sequence[RaceJob], count: int, progress: Progress) -> Iterable[RowKey]:
    if count > 1 and len(jobs) > 1:
        yield from side_by_side(race, jobs, count=count, progress=progress)
        return
    for job in jobs:
        yield from race(job, progress)


def row_keys(settings: ComparisonSettings) -> list[RowKey]:
    """Split point after split point, seed after seed."""
    named = product(settings.splits, settings.seeds, settings.contenders)
    return [RowKey(*one) for one in named]


def rows_of(folder: Path, settings: ComparisonSettings) -> tuple[list[AttackRow], int]:
    """(the rows that are there; how many of those that were asked for are missing).

    Raises:
        Corrupt: one is damaged.
    """
    keys = row_keys(settings)
    found = [read_row(folder, key) for key in keys]
    there = [row for row in found if row is not None]
    return there, len(keys) - len(there)
