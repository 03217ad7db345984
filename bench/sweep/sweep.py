"""The sweep over split points: cut, deploy, capture, attack, score; continues after a kill.

Last of all, with nothing else at work, the latency of all deployments is measured together.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import defenses
from adversary.registry import ATTACKS
from bench.estimate import SweepWork, sweep_estimate
from bench.latency.measure import measure_run
from bench.point import counts, data_notes, recipe
from bench.point.capture import CaptureRun
from bench.point.deploy import undefended, whole
from bench.point.feasible import check_everywhere
from bench.point.judge import prepare_judge
from bench.point.measure import Plan, Scene, make_attack, plans, run_point
from bench.point.own_network import require_same_network
from bench.point.recipe import SweepConfig, WireName
from bench.point.victim import (
    Victim,
    head_tensors,
    kept_secret,
    learns,
    prepare_halves,
    prepare_victim,
    require_no_weights,
)
from bench.point.weights import LabelFiles, arch_of, tried_weights, with_outputs
from bench.roles.nursery import nursery
from bench.sweep.choose import choose
from splitlab.data import Splits, load_splits
from splitlab.deployment import write_deployment
from splitlab.errors import UnknownName
from splitlab.estimating import Forecast
from splitlab.machine import commit
from splitlab.record import Record, RecordStore, point_hash
from splitlab.split import SplitPoint
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
        progress: Progress | None = None,
    ) -> None:
        commit()  # of the code that was loaded, not of what the checkout becomes meanwhile
        self.run, self.config, self.weights = run, config, weights
        self.data_root, self.lpips_weights = data_root, lpips_weights
        self.secret_seed, self.progress = secret_seed, progress or Silent()
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
        self.splits: Splits = load_splits(
            config.dataset,
            size=config.size,
            seed=config.seed,
            root=data_root,
            download=download,
            limits={"train": config.train_images},
        )
        self._loading = time.perf_counter() - began
        self.splits = with_outputs(config, self.splits, weights, labels)
        given, (config, adapted) = config, counts.fitted(config, self.splits)
        if given != config:  # the numbers are true now, and so is what depends on them
            self.config, self.plans = config, plans(config)
        if settings.exists():
            recipe.require_same(recipe.load(settings), config, run)
        self.notes = (*self.splits.notes, *adapted)
        self.arch = arch_of(config, len(self.splits.classes))
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
        self.secret = kept_secret(run / "client-secret.json", secret_seed)

    def estimate(self) -> Forecast:
        """What is left to be done, from a few steps at the actual size."""
        pending: dict[tuple[int, str], tuple[int, ...]] = {}
        for (n, split), c in itertools.product(
            enumerate(self.chosen), self.config.on_each_wire.values()
        ):
            left = [self._hash(c, split, plan) for plan in self.plans]
            if plans_left := tuple(k for k, h in enumerate(left) if not self.store.has(h)):
                pending[n, c.wire] = plans_left
        return sweep_estimate(
            SweepWork(
                config=self.config,
                stack=self.stack,
                chosen=self.chosen,
                arch=self.arch,
                splits=self.splits,
                plans=self.plans,
                pending=pending,
                trains=self._trains(),
                judges=not (self.run / "judge" / "judge.safetensors").exists(),
                loading=self._loading,
                lpips_weights=self.lpips_weights,
            )
        )

    def _trains(self) -> bool:
        """Whether the undefended network has still to learn."""
        learned = (self.run / "victim" / "victim.json").exists()
        return not learned and (self.weights is None or self.config.new_classifier)

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
        victim = self._victim()
        judge = prepare_judge(self.run / "judge", self.config, self.splits, self.progress)
        victims = self.splits.victims.take(self.config.victims, self.config.seed)
        done: list[Record] = []
        wires = self.config.on_each_wire
        total = len(self.chosen) * len(wires) * len(self.plans)
        points = self.progress.task("points", total)
        for split, (suffix, config) in itertools.product(self.chosen, wires.items()):
            pending = []
            for plan in self.plans:
                point = self._hash(config, split, plan)
                if self.store.has(point):
                    points.advance(1)
                    done.append(self.store.read(point))
                else:
                    pending.append((plan, point))
            if not pending:
                continue
            place = self.run / "points" / f"{split.name}{suffix}"
            self._deploy(place, config.wire, split, victim)
            with CaptureRun(place, config, self.data_root, self.secret_seed) as capture:
                scene = Scene(
                    config=config,
                    splits=self.splits,
                    split=split,
                    place=place,
                    capture=capture,
                    whole=undefended(place / "deployment", victims, victim),
                    judge=judge,
                    images=self.run / "images",
                    lpips_weights=self.lpips_weights,
                    name=place.name,
                )
                for plan, point in pending:
                    record = run_point(scene, plan, point, self.progress)
                    self.store.write(record)
                    done.append(record)
                    points.advance(1)
        points.close()
        measure_run(self.run, self.store.all(), self.config.links, self.progress)
        return done

    def _hash(self, config: SweepConfig, split: SplitPoint, plan: Plan) -> str:
        point = config.point(split.name, plan.attack, plan.knowledge)
        return point_hash(point, self.splits.hash)

    def _victim(self) -> Victim | None:
        """The undefended network that all split points share; None where each trains its own."""
        if learns(self.config, self.stack):
            return None
        return prepare_victim(
            self.run / "victim",
            self.config,
            self.splits,
            weights=self.weights,
            progress=self.progress,
        )

    def _deploy(
        self, place: Path, wire: WireName, split: SplitPoint, victim: Victim | None
    ) -> None:
        folder = place / "deployment"
        if folder.exists() and whole(folder):
            return
        halves = prepare_halves(
            self.run / "victims" / split.name,
            self.config,
            self.splits,
            self.stack,
            split.name,
            self.secret,
            victim=victim,
            progress=self.progress,
        )
        write_deployment(
            folder,
            halves,
            defended=self.stack,
            wire=wire,
            classes=self.splits.classes,
            folders=self.splits.folders,
            secret=self.secret,
            victims_hash=self.splits.victims.hash,
        )
