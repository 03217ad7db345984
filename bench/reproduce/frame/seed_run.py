"""One seed of an experiment: deployments, their captures over real processes, attacks, records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import defenses
from adversary.synthesis.folder import Made
from bench.point.capture import CaptureRun
from bench.point.deploy import undefended
from bench.point.judge import prepare_judge
from bench.point.measure import Scene, make_attack, measure
from bench.point.packages import packages_of
from bench.point.recipe import SweepConfig
from bench.point.setup import Place, Setup
from bench.point.synthetic import synthetic_images
from bench.point.victim import kept_secret
from bench.reproduce.frame.experiment import Experiment, Measurement, Skipped
from bench.reproduce.frame.networks import Networks
from bench.reproduce.frame.request import ExperimentRequest
from bench.roles.nursery import nursery
from splitlab.data import Splits
from splitlab.errors import Unavailable
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.record import Record, RecordStore, point_hash
from splitlab.split import SplitPoint, find_point, split_points
from splitlab.storage import lock
from splitlab.training import Progress, choose_device
from splitlab.training.progress import Silent
from splitlab.workers import side_by_side

Outcome = tuple[str, Record | Skipped]
Job = tuple[Place, Sequence[Measurement]]


@dataclass(frozen=True)
class SeedRun:
    """What all deployments of one seed share.

    Args:
        setup: counted, so that every number of images is there.
        splits: with no more training images than the setup asks for.
    """

    experiment: Experiment
    setup: Setup
    request: ExperimentRequest
    seed: int
    splits: Splits
    store: RecordStore

    @property
    def folder(self) -> Path:
        return self.request.out / f"seed-{self.seed}"

    def config(self, place: Place) -> SweepConfig:
        """What a capture, a judge and a scene need to know of this place."""
        setup = self.setup
        return SweepConfig(
            model=setup.model,
            dataset=setup.dataset,
            size=setup.size,
            mean=setup.mean,
            std=setup.std,
            splits=place.head_end or setup.head_end,
            tail_start=place.tail_start or setup.tail_start,
            defense=place.defense,
            victims=self.setup.victims or len(self.splits.victims),
            victim=setup.recipe,
            seed=self.seed,
            device=self.request.device,
            keep_images=self.request.keep_images,
        )

    def point(self, measurement: Measurement) -> tuple[dict[str, Any], str]:
        """Everything that this measurement depends on, and its hash with the data."""
        setup, place = self.setup, measurement.place
        attack = make_attack(measurement.attack, measurement.options)
        config = {
            "experiment": self.experiment.name,
            "scale": self.experiment.scale,
            "measurement": measurement.key,
            "place": place.name,
            "seed": self.seed,
            **setup.model_dump(mode="json"),
            "dataset": setup.dataset.partition(":")[0],
            "split": place.head_end or setup.head_end,
            "tail_start": place.tail_start or setup.tail_start,
            "defense": defenses.parse(place.defense).spec,
            "attack": measurement.attack,
            "attack_options": attack.model_dump(mode="json"),
            "knowledge": measurement.knowledge,
            "granted": measurement.grant(setup).card(),
        }
        if measurement.synthetic is not None:
            config["synthetic"] = measurement.synthetic.as_dict()
        if measurement.limit is not None:
            config["attacked"] = measurement.limit
        if self.request.weights is not None:
            config["weights"] = self.networks.undefended[1]["weights"]
        named = {"attack": measurement.attack, "defense": place.defense, "model": setup.model}
        if packages := packages_of(**named):
            config["packages"] = packages
        return config, point_hash(config, self.splits.hash)

    def finished(self) -> dict[str, Record]:
        """The records that are there, by the key of their measurement."""
        points = {m.key: self.point(m)[1] for m in self.experiment.measurements}
        return {k: self.store.read(point) for k, point in points.items() if self.store.has(point)}

    def missing(self) -> Iterator[Outcome]:
        """Make every measurement that is not there yet, deployment after deployment.

        With several workers the deployments are shared out until all are captured, then the attacks
        on them: those of one kind on one deployment stay together, as they have work in common.
        """
        done = self.finished()
        jobs: list[Job] = []
        for place in self.experiment.places:
            own = [m for m in self.experiment.measurements if m.place == place]
            if pending := [m for m in own if m.key not in done]:
                jobs.append((place, pending))
        count = self._workers([len(own) for _, own in jobs])
        if jobs:
            nursery()  # loads while networks are trained
            # Made before anybody else may want it.
            kept_secret(self.folder / "client-secret.json", self.request.secret_of(self.seed))
        if count > 1:
            jobs.sort(key=lambda job: len(job[1]), reverse=True)
            alone = replace(self, request=replace(self.request, progress=Silent()))
            watch = self.request.progress
            yield from side_by_side(partial(_ready, alone), jobs, count=count, progress=watch)
            parts = [
                (place, [m for m in own if m.attack == attack])
                for place, own in jobs
                for attack in dict.fromkeys(m.attack for m in own)
            ]
            parts.sort(key=lambda job: len(job[1]), reverse=True)
            yield from side_by_side(partial(_beside, alone), parts, count=count, progress=watch)
        else:
            for job in jobs:
                yield from self.at(*job)

    def _workers(self, sizes: Sequence[int]) -> int:
        """How many processes to use for deployments with so many measurements each.

        One that holds most of the work is better served by a single process with all the threads.
        """
        if self.experiment.timed or choose_device(self.request.device).type != "cpu":
            return 1
        if not self.request.workers and 2 * max(sizes, default=0) > sum(sizes):
            return 1
        return min(self.request.workers or os.cpu_count() or 1, len(sizes))

    def deployed(self, place: Place) -> Path:
        """The folder of a place with its `deployment`, trained if that has not been done."""
        folder = self.folder / "places" / place.name
        self.networks.deploy(place, folder)
        return folder

    def ready(self, place: Place) -> None:
        """Train and capture one deployment, if that has not been done."""
        folder, config = self.deployed(place), self.config(place)
        root, secret_seed = self.request.data_root, self.request.secret_of(self.seed)
        with CaptureRun(folder, config, root, secret_seed) as capture:
            capture.result()

    def at(self, place: Place, pending: Sequence[Measurement]) -> Iterator[Outcome]:
        """The measurements `pending` at one deployment, which is trained if it is not there."""
        folder, config = self.deployed(place), self.config(place)
        victims = self.splits.victims.take(config.victims, self.seed)
        data_root, secret_seed = self.request.data_root, self.request.secret_of(self.seed)
        with CaptureRun(folder, config, data_root, secret_seed) as capture:
            scene = Scene(
                config=config,
                splits=self.splits,
                split=self._split(config.splits),
                place=folder,
                capture=capture,
                whole=undefended(folder / "deployment", victims),
                judge=self._judge,
                images=self.request.out / "images",
                lpips_weights=self.request.lpips_weights,
            )
            for measurement in pending:
                yield measurement.key, self._measured(scene, measurement)

    def _measured(self, scene: Scene, measurement: Measurement) -> Record | Skipped:
        config, point = self.point(measurement)
        attack = make_attack(measurement.attack, measurement.options)
        checkpoint = scene.checkpoint(attack, point[:16])
        try:
            record = measure(
                scene,
                attack,
                measurement.knowledge,
                measurement.grant(self.setup),
                config=config,
                point=point,
                limit=measurement.limit,
                # One stream for each attack: rows differ by what is attacked, not by chance.
                rng=generator(self.seed, "attack", measurement.attack),
                checkpoint=checkpoint,
                progress=self.request.progress,
                made=self.made(measurement),
                with_latency=True,
            )
        except Unavailable as error:
            return Skipped(str(error))
        self.store.write(record)
        for path in checkpoint.parent.glob(f"{checkpoint.stem}*.pt"):
            path.unlink()
        return record

    def made(self, measurement: Measurement) -> Made | None:
        """The adversary's synthetic images; made once for all that want the same."""
        wanted, place = measurement.synthetic, measurement.place
        if wanted is None:
            return None
        layers = self._split(self.config(place).splits).name
        return synthetic_images(
            self.folder / "synthetic" / (layers if wanted.layers == "head" else "network"),
            self.deployed(place) / "deployment",
            wanted,
            seed=self.seed,
            device=self.request.device,
            progress=self.request.progress,
        )

    @cached_property
    def networks(self) -> Networks:
        """What is trained in this seed's folder."""
        return Networks(self.setup, self.request, self.seed, self.splits, self.folder)

    @cached_property
    def _judge(self) -> Any:
        place = self.experiment.places[0]
        folder = self.folder / "judge"
        with lock(folder):
            return prepare_judge(folder, self.config(place), self.splits, self.request.progress)

    def _split(self, name: str) -> SplitPoint:
        arch = self.setup.arch(len(self.splits.classes))
        return find_point(split_points(build(arch, seed=0), arch.input.shape, "operation"), name)


def _ready(run: SeedRun, job: Job, progress: Progress) -> Iterator[Outcome]:
    """One deployment, captured, in a worker; it has no outcome yet."""
    replace(run, request=replace(run.request, progress=progress)).ready(job[0])
    yield from ()


def _beside(run: SeedRun, job: Job, progress: Progress) -> Iterator[Outcome]:
    """Attacks on one deployment in a worker."""
    place, pending = job
    yield from replace(run, request=replace(run.request, progress=progress)).at(place, pending)
