"""Who measures points: this process, or several side by side; each is recorded once.

A cluster is one more `Executor`: what it is handed, a lab and points, goes through a pipe.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Protocol

from bench.point.identity.config import PointConfig
from bench.point.lab import Lab
from bench.point.measure import make_attack
from bench.point.run import Skipped, forget, ready, run
from bench.point.victim import learns
from defenses import parse
from splitlab.contracts import Kind
from splitlab.errors import Unavailable
from splitlab.record import Record, RecordStore
from splitlab.training import Progress, choose_device
from splitlab.workers import side_by_side

PointOutcome = tuple[PointConfig, Record | Skipped]
PointGroup = Sequence[PointConfig]
"""Points of one deployment."""


class Executor(Protocol):
    """Measures points and writes their records."""

    def outcomes(self, lab: Lab, points: Sequence[PointConfig]) -> Iterator[PointOutcome]:
        """Each point with what came of it, as it comes.

        Args:
            points: those of one deployment behind one another.

        Raises:
            SplitLabError: of a point; what is finished is kept.
        """
        ...


class InProcess:
    """One point after another, here."""

    def outcomes(self, lab: Lab, points: Sequence[PointConfig]) -> Iterator[PointOutcome]:
        """See `Executor`."""
        with lab:
            for point in points:
                yield point, recorded(point, lab, lab.progress)


@dataclass(frozen=True)
class SideBySide:
    """Several processes, each with its share of the cores.

    The deployments are shared out until all are captured, then the attacks on them: those of one
    kind on one deployment stay together, as they have work in common.
    """

    count: int

    def outcomes(self, lab: Lab, points: Sequence[PointConfig]) -> Iterator[PointOutcome]:
        """See `Executor`."""
        _ = lab.secret  # made before anybody else may want it
        places = [list(own) for _, own in groupby(points, key=lab.place)]
        jobs = sorted(places, key=len, reverse=True)
        share = partial(side_by_side, count=self.count, progress=lab.progress)
        if firsts := _first_of_each_victim(jobs, lab):  # else all but one wait for its lock
            yield from share(partial(_victim, lab), firsts)
        yield from share(partial(_ready, lab), jobs)
        parts = [part for job in jobs for part in _together(job)]
        yield from share(partial(_beside, lab), sorted(parts, key=len, reverse=True))


def executor_for(
    workers: int, points: Sequence[PointConfig], device: str, *, timed: bool = False
) -> Executor:
    """Who measures these points.

    Args:
        workers: processes; 0 for as many as pay. Where one deployment holds most of the points, a
            single process with all the threads serves it better.
        timed: seconds are results, so that nothing may run beside them.
    """
    sizes = Counter((point.place, point.split) for point in points)
    if timed or workers == 1 or choose_device(device).type != "cpu":
        return InProcess()
    if not workers and 2 * max(sizes.values(), default=0) > len(points):
        return InProcess()
    count = min(workers or os.cpu_count() or 1, len(sizes))
    return SideBySide(count) if count > 1 else InProcess()


def recorded(point: PointConfig, lab: Lab, progress: Progress) -> Record | Skipped:
    """The record of a point, made and written unless it is there.

    Its name is the point's identity, so that there cannot be two.
    """
    store, name = RecordStore(lab.run), lab.identity(point)
    if store.has(name):
        return store.read(name)
    try:
        record = run(point, lab, progress)
    except Unavailable as error:
        return Skipped(str(error))
    store.write(record)
    forget(point, lab)
    return record


def _first_of_each_victim(jobs: Sequence[PointGroup], lab: Lab) -> list[PointGroup]:
    """A point of each undefended network that several deployments want and nobody has trained."""
    wanted = Counter[Path]()
    first: dict[Path, PointGroup] = {}
    for job in jobs:
        if _cuts_victim(job[0]) and not lab.has_victim(job[0]):
            wanted[folder := lab.victim_folder(job[0])] += 1
            first.setdefault(folder, job)
    shared = [job for folder, job in first.items() if wanted[folder] > 1]
    return shared if len(shared) < len(jobs) else []


def _cuts_victim(point: PointConfig) -> bool:
    """Whether its deployment is cut out of an undefended network."""
    sight = make_attack(point.attack, point.attack_options).estimates.sight
    return sight == Kind.sight and not learns(point, parse(point.defense))


def _victim(lab: Lab, job: PointGroup, progress: Progress) -> Iterator[PointOutcome]:
    """The undefended network of a deployment, trained with all the cores' threads."""
    with replace(lab, progress=progress) as here:
        here.victim(job[0])
    yield from ()


def _together(job: PointGroup) -> list[PointGroup]:
    """Points of one attack on a deployment, and those of attacks whose fits it starts from."""
    group = {point.attack: point.attack for point in job}
    for point in job:
        for other in make_attack(point.attack, point.attack_options).starts_from:
            if other.name in group:
                old, new = group[point.attack], group[other.name]
                group = {name: new if own == old else own for name, own in group.items()}
    return [[p for p in job if group[p.attack] == one] for one in dict.fromkeys(group.values())]


def _ready(lab: Lab, job: PointGroup, progress: Progress) -> Iterator[PointOutcome]:
    """One deployment, captured, in a worker; it has no outcome yet."""
    with replace(lab, progress=progress) as here:
        ready(job, here)
    yield from ()


def _beside(lab: Lab, job: PointGroup, progress: Progress) -> Iterator[PointOutcome]:
    """Attacks on one deployment, in a worker."""
    with replace(lab, progress=progress) as here:
        for point in job:
            yield point, recorded(point, here, progress)
