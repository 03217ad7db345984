"""The sweep over split points: cut, deploy, capture, attack, score; continues after a kill.

Last of all, with nothing else at work, the latency of all deployments is measured together.
"""

from __future__ import annotations

import itertools
import time
from functools import cached_property
from pathlib import Path

import defenses
from adversary.registry import ATTACKS
from bench.estimate import SweepWork, sweep_estimate
from bench.executors import executor_for
from bench.latency.measure import measure_run
from bench.point import counts, data_notes, recipe
from bench.point.cache.store import Cache, beside
from bench.point.feasible import check_everywhere
from bench.point.identity.config import PointConfig, identity
from bench.point.identity.known import KnownRecords
from bench.point.lab import Lab, Sources, loaded
from bench.point.measure import make_attack, plans, point_of
from bench.point.own_network import require_same_network
from bench.point.recipe import SweepConfig
from bench.point.run import Skipped
from bench.point.victim import head_tensors, require_no_weights
from bench.point.weights import LabelFiles, tried_weights
from bench.roles.nursery import nursery
from bench.sweep.choose import choose
from splitlab.errors import Unavailable, UnknownName
from splitlab.estimating import Forecast
from splitlab.machine import commit
from splitlab.record import Record, RecordStore
from splitlab.storage import require_writable, sole
from splitlab.training import Progress, Silent


class Sweep:
    """A run folder and what it takes to fill it.

    Args:
        run: the run's folder; continued if it holds a run of the same config.
        config: what to measure.
        weights: trained weights for the victim, else it is trained.
        labels: which outputs of the weights the data's classes are.
        data_root: where torchvision's data sets lie.
        download: whether they may be fetched.
        lpips_weights: folder with LPIPS backbones.
        secret_seed: for reproduction only; else secrets come from the operating system.
        cache: of networks, judges and images; None for the one beside the run.
        workers: processes that deploy and attack side by side; 0 for as many as pay.

    `notes` says what was left out of the data, and which numbers of images follow from them.
    """

    def __init__(
        self,
        run: Path,
        config: SweepConfig,
        *,
        weights: Path | None = None,
        labels: LabelFiles = LabelFiles(),
        data_root: Path | None = None,
        download: bool = False,
        lpips_weights: Path | None = None,
        secret_seed: int | None = None,
        cache: Cache | None = None,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> None:
        commit()  # of the code that was loaded, not of what the checkout becomes meanwhile
        self.run, self.config, self.weights = run, config, weights
        self.lpips_weights = lpips_weights
        self.workers, self.progress = workers, progress or Silent()
        self.store = RecordStore(run)
        settings = run / "config.toml"
        if settings.exists():
            recipe.require_same(recipe.load(settings), config, run, counts.ungiven(config))
        # Names and settings are checked before anything is loaded or trained.
        self.stack = defenses.parse(config.defense)
        self.stack.check(config.tail_start)
        require_no_weights(config, self.stack, weights)
        self.plans = plans(config)
        options = config.attack_options
        attacks = [
            (make_attack(plan.attack, options.get(plan.attack, {})), frozenset(plan.grant.card()))
            for plan in self.plans
        ]
        for name in config.attack_options:
            if name not in config.attacks:
                raise UnknownName("attack of this sweep", name, config.attacks)
        for name in config.attacked:
            ATTACKS[name]
            if name not in config.attacks and config.attacked != SweepConfig().attacked:
                raise UnknownName("attack of this sweep", name, config.attacks)
        began = time.perf_counter()
        sources = Sources(
            config.dataset,
            data_root=data_root,
            download=download,
            weights=weights,
            labels=labels,
            lpips_weights=lpips_weights,
            secret_seed=secret_seed,
            device=config.device,
            keep_images=config.keep_images,
        )
        self.splits = loaded(config, sources)
        self._loading = time.perf_counter() - began
        given, (config, adapted) = config, counts.fitted(config, self.splits)
        if given != config:  # the numbers are true now, and so is what depends on them
            self.config, self.plans = config, plans(config)
        if settings.exists():
            recipe.require_same(recipe.load(settings), config, run)
        self.notes = (*self.splits.notes, *adapted)
        self.arch = config.arch(len(self.splits.classes))
        # nothing is kept of a start that fails
        net = tried_weights(config, self.arch, weights, self.splits)
        self.chosen = choose(config, net, self.arch)
        places = [split.name for split in self.chosen]
        check_everywhere(net, self.arch, places, config.tail_start, attacks)
        if config.freeze is not None:
            head_tensors(net, config.freeze, self.arch)
        require_writable(run)
        self._sole = sole(run)  # until the process ends, or all points are there
        if settings.exists():  # by whoever was there until just now
            recipe.require_same(recipe.load(settings), config, run)
        require_same_network(run, self.arch)
        recipe.save(config, settings)
        data_notes.keep(run, self.splits, adapted)
        self.lab = Lab(
            home=run,
            places=run / "points",
            run=run,
            cache=cache or beside(run),
            sources=sources,
            splits=self.splits,
            progress=self.progress,
        )
        _ = self.lab.secret  # refused here, if it is another one

    def estimate(self) -> Forecast:
        """What is left to be done, from a few steps at the actual size."""
        pending: dict[tuple[int, str], tuple[int, ...]] = {}
        found, each = list(self._finished().values()), len(self.plans)
        cells = itertools.product(range(len(self.chosen)), self.config.on_each_wire.values())
        for first, (n, c) in enumerate(cells):
            own = enumerate(found[first * each : (first + 1) * each])
            if left := tuple(k for k, record in own if record is None):
                pending[n, c.wire] = left
        lab, point = self.lab, self.points[0]
        learned = lab.has_victim(point)
        return sweep_estimate(
            SweepWork(
                config=self.config,
                stack=self.stack,
                chosen=self.chosen,
                arch=self.arch,
                splits=self.splits,
                plans=self.plans,
                pending=pending,
                trains=not learned and (self.weights is None or self.config.new_classifier),
                judges=not (lab.judge_folder(point) / "judge.safetensors").exists(),
                loading=self._loading,
                lpips_weights=self.lpips_weights,
            )
        )

    def execute(self) -> list[Record]:
        """Every point that is not finished yet, split point after split point; all its records.

        Then the latency, of every deployment that the run holds.
        """
        try:
            return self._execute()
        finally:
            self.close()

    def close(self) -> None:
        """Let others write into the folder."""
        self._sole.release()

    def _execute(self) -> list[Record]:
        nursery()  # loads while others train
        found = self._finished()
        pending = [
            point for point, record in zip(self.points, found.values(), strict=True) if not record
        ]
        work = self.progress.task("points", len(found), len(found) - len(pending))
        executor = executor_for(self.workers, pending, self.config.device)
        for point, outcome in executor.outcomes(self.lab, pending):
            if isinstance(outcome, Skipped):
                raise Unavailable(outcome.why)
            found[self.lab.identity(point)] = outcome
            work.advance(1)
        work.close()
        measure_run(self.run, self.store.all(), self.config.links, self.progress)
        return [record for record in found.values() if record is not None]

    @cached_property
    def points(self) -> list[PointConfig]:
        """Split point after split point, on each wire, every attack with every knowledge."""
        return [
            point_of(config, split.name, plan, f"{split.name}{suffix}")
            for split in self.chosen
            for suffix, config in self.config.on_each_wire.items()
            for plan in self.plans
        ]

    def _finished(self) -> dict[str, Record | None]:
        """Identity of each point -> its record, whichever version wrote it."""
        known, data = KnownRecords(self.store), self.splits.hash
        return {identity(point, data): known.of(point, data) for point in self.points}
