"""One seed of an experiment: its measurements as points, found or made, and their records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.executors import executor_for
from bench.point.identity.config import PointConfig
from bench.point.identity.known import KnownRecords
from bench.point.lab import Lab, Sources
from bench.point.run import Skipped
from bench.point.setup import Setup
from bench.reproduce.frame.experiment import Experiment, Measurement
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.sights import sight_of_all
from bench.roles.nursery import nursery
from splitlab.data import Splits
from splitlab.record import Record, RecordStore

Made = tuple[str, Record | Skipped]
"""Key of a measurement, and what came of it."""


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

    @cached_property
    def lab(self) -> Lab:
        """Where this seed is measured."""
        request = self.request
        return Lab(
            home=self.folder,
            places=self.folder / "places",
            run=request.out,
            cache=request.shared,
            sources=Sources(
                self.setup.dataset,
                data_root=request.data_root,
                download=request.download,
                weights=request.weights,
                lpips_weights=request.lpips_weights,
                secret_seed=request.secret_of(self.seed),
                device=request.device,
                keep_images=request.keep_images,
            ),
            splits=self.splits,
            with_latency=True,
            progress=request.progress,
        )

    def point(self, measurement: Measurement) -> PointConfig:
        """Everything that this measurement depends on."""
        return point_of(self.experiment, self.setup, self.seed, measurement, self._weights)

    @cached_property
    def _weights(self) -> str | None:
        """Hash of the given ones, as they lie in the network.

        Raises:
            Mismatch: a checkpoint of another network or of other classes was given.
        """
        if self.request.weights is None:
            return None
        sight, classes = sight_of_all(self.experiment), len(self.splits.classes)
        return sight.given(self.setup, classes, self.request.weights)

    def finished(self) -> dict[str, Record]:
        """The records of just these measurements that are there, by the measurements' keys.

        One of the same name with other settings is not among them.
        """
        known, data = KnownRecords(self.store), self.splits.hash
        found = {m.key: known.of(self.point(m), data) for m in self.experiment.measurements}
        return {key: record for key, record in found.items() if record is not None}

    def missing(self) -> Iterator[Made]:
        """Make every measurement that is not there yet, deployment after deployment."""
        done = self.finished()
        pending = [
            self.point(measurement)
            for place in self.experiment.places
            for measurement in self.experiment.measurements
            if measurement.place == place and measurement.key not in done
        ]
        if not pending:
            return
        nursery()  # loads while networks are trained
        request = self.request
        timed = self.experiment.timed
        executor = executor_for(request.workers, pending, request.device, timed=timed)
        for point, outcome in executor.outcomes(self.lab, pending):
            yield point.measurement, outcome


def point_of(
    experiment: Experiment,
    setup: Setup,
    seed: int,
    measurement: Measurement,
    weights: str | None = None,
) -> PointConfig:
    """A measurement of an experiment as a point.

    Args:
        setup: counted.
        weights: hash of given ones.

    Raises:
        UnknownName, BadInput: an attack, defence or setting that is none.
    """
    place = measurement.place
    assert setup.train is not None
    assert setup.validation is not None
    assert setup.victims is not None
    return PointConfig.resolved(
        model=setup.model,
        arguments=setup.arguments,
        dataset=setup.dataset,
        size=setup.size,
        mean=setup.mean,
        std=setup.std,
        tail_start=place.tail_start or setup.tail_start,
        defense=place.defense,
        train_images=setup.train,
        queries=setup.queries,
        validation_images=setup.validation,
        victims=setup.victims,
        victim=setup.recipe,
        weights_hash=weights,
        seed=seed,
        split=place.head_end or setup.head_end,
        attack=measurement.attack,
        attack_options=dict(measurement.options),
        attacked=measurement.limit,
        knowledge=measurement.knowledge,
        granted=measurement.grant(setup).card(),
        synthetic=measurement.synthetic,
        # One stream for each attack: rows differ by what is attacked, not by chance.
        stream=(measurement.attack,),
        experiment=experiment.name,
        scale=experiment.scale,
        measurement=measurement.key,
        place=place.name,
    )
