"""One row: a contender at a split point under a seed, run, read and scored."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.perf.attacks.ours import OURS, OurAttack, knows_head, run_ours, settings_of
from bench.perf.attacks.peers.listed import PEERS
from bench.perf.attacks.race import Reading, Seconds, one_thread, read_at
from bench.perf.attacks.records import AttackRow, Measured, RowKey, read_row, write_row
from bench.perf.attacks.scene import Scene
from splitlab.errors import UnknownName
from splitlab.machine import environment
from splitlab.metrics import psnr, ssim
from splitlab.training import Progress

DIGITS = 5
"""Behind the point, of what a record keeps."""
PASSES = 10
"""Of a yardstick; some tenths of a second."""


@dataclass(frozen=True, eq=False)
class RaceJob:
    """A row to be measured.

    Args:
        scene: what all contenders there are given.
        contender: by name.
        budgets: CPU seconds, ascending.
        folder: that the record is written into.
        clock: seconds of this process's work.
    """

    scene: Scene
    contender: str
    budgets: tuple[float, ...]
    folder: Path
    clock: Seconds = time.process_time

    @property
    def key(self) -> RowKey:
        return RowKey(self.scene.split, self.scene.draw.seed, self.contender)


def contenders() -> tuple[str, ...]:
    """Names of all: the peers, then ours."""
    return (*PEERS, *ours_in_order())


def ours_in_order() -> tuple[str, ...]:
    """Names of ours, strongest first."""
    return tuple(one.name for one in OURS)


def our_attack(name: str) -> OurAttack | None:
    """That of ours which has this name; None of a peer's.

    Raises:
        UnknownName: neither.
    """
    found = next((one for one in OURS if one.name == name), None)
    if found is None and name not in PEERS:
        raise UnknownName("contender", name, contenders())
    return found


def asking() -> frozenset[str]:
    """Names of those, ours and peers, that know queries alone and no head."""
    peers = {name for name, peer in PEERS.items() if not peer.head}
    return frozenset(peers | {one.name for one in OURS if not knows_head(one)})


def settings_now(name: str) -> dict[str, Any]:
    """Of the contender, as JSON has them."""
    ours = our_attack(name)
    return settings_of(ours) if ours is not None else dict(PEERS[name].settings)


def finished(folder: Path, key: RowKey) -> AttackRow | None:
    """The row, where it is measured.

    Raises:
        BadInput, Corrupt: as `read_row`.
    """
    return read_row(folder, key, settings_now(key.contender))


def race(job: RaceJob, progress: Progress) -> Iterator[RowKey]:
    """Measure a row and write it; in a process of its own or in this one."""
    before = yardstick(job.scene)
    wall, own = time.perf_counter(), time.process_time()
    row = measured(job, progress)
    spent = max(time.process_time() - own, 1e-9)
    waited = (time.perf_counter() - wall) / spent
    pace = (before + yardstick(job.scene)) / 2
    row = replace(row, wall_per_cpu=round(waited, 3), yardstick=round(pace, DIGITS))
    write_row(job.folder, row)
    job.scene.forget()
    yield job.key


def measured(job: RaceJob, progress: Progress) -> AttackRow:
    """The row, by the job's clock.

    Raises:
        SplitLabError: the contender cannot be run there.
    """
    scene, ours = job.scene, our_attack(job.contender)
    told = f"{scene.split}, seed {scene.draw.seed}: {job.contender}"
    with one_thread():
        about: dict[str, Any] = {
            "split": scene.split,
            "seed": scene.draw.seed,
            "contender": job.contender,
            "settings": settings_now(job.contender),
            "groups": tuple(scene.groups),
            "environment": environment(),
        }
        scene.features, scene.answers  # noqa: B018  # as much a grant as the head is
        if ours is not None:
            found = run_ours(ours, scene, job.clock)
            return AttackRow(
                kind="ours",
                readings=(_scored(found.reading, scene.truth, ours=True),),
                facts=found.facts,
                **about,
            )
        peer, shown = PEERS[job.contender], scene.exposed(job.contender)
        work = progress.task(told, int(job.budgets[-1]))
        readings = read_at(partial(peer.make, shown), job.budgets, job.clock, work.advance)
        work.close()
        return AttackRow(
            kind="peer",
            readings=tuple(_scored(one, scene.truth) for one in readings),
            source=peer.source,
            **about,
        )


def yardstick(scene: Scene) -> float:
    """CPU seconds of `PASSES` of the victims, forth and back through the head, on one thread.

    It is the same work beside each row of a split point and seed: where it takes longer, the core
    was slower, or shared with another one of the same chip.
    """
    images = scene.truth.clone().requires_grad_()
    with one_thread():
        for timed in (False, True):  # the first pass of all is slower
            began = time.process_time()
            for _ in range(PASSES if timed else 1):
                torch.autograd.grad(scene.head(images).square().mean(), images)
        return time.process_time() - began


def _scored(reading: Reading, truth: Tensor, *, ours: bool = False) -> Measured:
    return Measured(
        budget=None if ours else reading.budget,
        seconds=round(reading.seconds, 3),
        steps=None if ours else reading.steps,
        psnr=_numbers(psnr(truth, reading.images)),
        ssim=_numbers(ssim(truth, reading.images)),
        broken=reading.broken,
    )


def _numbers(values: Tensor) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values.tolist())
