"""The sweep over split points: cut, deploy, capture, attack, score; continues after a kill."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import defenses
from adversary.registry import ATTACKS
from bench import recipe
from bench.capture_run import CaptureRun
from bench.deploy import undefended, whole
from bench.estimate import Estimate, estimate
from bench.judge import prepare_judge
from bench.point import Plan, Scene, make_attack, plans, run_point
from bench.recipe import SweepConfig, WireName
from bench.victim import (
    Victim,
    arch_of,
    kept_secret,
    learns,
    prepare_halves,
    prepare_victim,
    require_no_weights,
)
from splitlab.contracts import ArchSpec
from splitlab.data import Splits, load_splits
from splitlab.deployment import write_deployment
from splitlab.errors import BadInput, UnknownName
from splitlab.machine import commit
from splitlab.models import Normalised, build
from splitlab.record import Record, RecordStore, point_hash
from splitlab.split import SplitPoint, find_point, split_points, spread
from splitlab.training import Progress, Silent


class Sweep:
    """A run folder and what it takes to fill it.

    Args:
        run: the run's folder; continued if it holds a run of the same config.
        config: what to measure.
        weights: trained weights for the victim, else it is trained.
        data_root: where torchvision's data sets lie.
        download: whether they may be fetched.
        lpips_weights: folder with LPIPS backbones.
        secret_seed: for reproduction only; else secrets come from the operating system.
    """

    def __init__(
        self,
        run: Path,
        config: SweepConfig,
        *,
        weights: Path | None = None,
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
            recipe.require_same(recipe.load(settings), config, run)
        # Names and settings are checked before anything is loaded or trained.
        self.stack = defenses.parse(config.defense)
        self.stack.check(config.tail_start)
        require_no_weights(config, self.stack, weights)
        self.plans = plans(config)
        for plan in self.plans:
            make_attack(plan.attack, config.attack_options.get(plan.attack, {}))
        for name in config.attack_options:
            if name not in config.attacks:
                raise UnknownName("attack of this sweep", name, config.attacks)
        for name in config.attacked:
            ATTACKS[name]
        self.splits: Splits = load_splits(
            config.dataset,
            size=config.size,
            seed=config.seed,
            root=data_root,
            download=download,
            limits={"train": config.train_images},
        )
        _check_counts(config, self.splits)
        self.arch = arch_of(config, len(self.splits.classes))
        self.chosen = choose(config, build(self.arch, seed=0), self.arch)
        recipe.save(config, settings)
        self.secret = kept_secret(run / "client-secret.json", secret_seed)

    def estimate(self) -> Estimate:
        """What is left to be done, from a few steps at the actual size."""
        cells = itertools.product(self.chosen, self.config.on_each_wire.values(), self.plans)
        pending = sum(not self.store.has(self._hash(c, split, plan)) for split, c, plan in cells)
        return estimate(
            self.config,
            self.stack,
            self.chosen,
            self.arch,
            pending=pending,
            plans=[plan.attack for plan in self.plans],
            pairs=min(self.config.queries, len(self.splits.auxiliary)),
            trains=self.weights is None and not (self.run / "victim" / "victim.json").exists(),
            judges=not (self.run / "judge" / "judge.safetensors").exists(),
        )

    def execute(self) -> list[Record]:
        """Every point that is not finished yet, split point after split point; all its records."""
        victim = self._victim()
        judge = prepare_judge(self.run / "judge", self.config, self.splits, self.progress)
        victims = self.splits.victims.take(self.config.victims, self.config.seed)
        done: list[Record] = []
        wires = self.config.on_each_wire
        total = len(self.chosen) * len(wires) * len(self.plans)
        points = self.progress.task("split points", total)
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
                    embed=judge,
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
            secret=self.secret,
            victims_hash=self.splits.victims.hash,
        )


def _check_counts(config: SweepConfig, splits: Splits) -> None:
    """
    Raises:
        BadInput: more images are asked for than there are; a record would state a false number.
    """
    for flag, asked, there in (
        ("--train-images", config.train_images, len(splits.train)),
        ("--queries", config.queries, len(splits.auxiliary)),
        ("--victims", config.victims, len(splits.victims)),
    ):
        if asked > there:
            raise BadInput(f"{flag} {asked}: {config.dataset_kind} has {there}; ask for fewer")


def choose(config: SweepConfig, net: Normalised, arch: ArchSpec) -> Sequence[SplitPoint]:
    """The split points that `--splits` names: a number of them, "all", or names with commas.

    Raises:
        UnknownName, NotCuttable: a name that is no split point.
        BadInput: a number below 1.
    """
    points = split_points(net, arch.input.shape, config.granularity)
    found = list(points)
    if config.tail_start is not None:
        end = find_point(points, config.tail_start)
        found = [p for p in found if p.index < end.index]
    if config.splits == "all":
        return found
    if config.splits.isdigit():
        if int(config.splits) < 1:
            raise BadInput(f"--splits {config.splits}: at least one split point is wanted")
        return spread(found, int(config.splits))
    names = [name.strip() for name in config.splits.split(",") if name.strip()]
    picked = {p.index: p for p in (find_point(points, name) for name in names)}
    return [picked[index] for index in sorted(picked)]
