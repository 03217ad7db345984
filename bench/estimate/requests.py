"""Estimates of what `bench reproduce` and `bench search` are asked, whatever the experiment."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.estimate.experiments import experiment_estimate
from bench.point.identity.known import KnownRecords
from bench.point.sights.wire import OverTheWire
from bench.reproduce.frame.again import differences
from bench.reproduce.frame.experiment import Experiment, Measurement, Skipped
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import Begun, Framed, begin
from bench.reproduce.frame.search import search, searching, variants_of
from bench.reproduce.frame.sights import sight_of_all
from splitlab.errors import BadInput, Unavailable
from splitlab.estimating import Clock, Forecast, memory_now
from splitlab.record import RecordStore
from splitlab.training import OutOfTime

FREE_SECONDS = 10.0
"""Of the rehearsal of an experiment that has a frame of its own."""


def reproduce_estimate(
    run: Callable[[ExperimentRequest], Any], request: ExperimentRequest
) -> Forecast:
    """Of all seeds that are asked for; nothing is written.

    Raises:
        UnknownName, BadInput: as the experiment itself.
    """
    if not isinstance(run, Framed):
        return _free_estimate(run, request)
    begun = begin(run.experiment(request), request)
    left = {seed: own for seed, own in _left(begun).items() if own}
    if not left:
        count = len(request.seeds) * len(begun.experiment.measurements)
        return Forecast(0, (), memory_now(), finished=count)
    if not issubclass(sight_of_all(begun.experiment), OverTheWire):
        return _free_estimate(lambda given: _one_seed(run, given), request)
    return _framed(begun, left)


def search_estimate(
    experiment: Experiment,
    key: str,
    grid: Mapping[str, Sequence[Any]],
    request: ExperimentRequest,
    images: int,
) -> Forecast:
    """Of all settings on all seeds; what was tried before is counted too.

    Raises:
        UnknownName, BadInput: as the search itself.
    """
    tried = [
        replace(one, key=f"{one.key}/{n}", limit=images)
        for n, one in enumerate(variants_of(experiment, key, grid))
    ]
    begun = begin(experiment, request)
    if not issubclass(sight_of_all(experiment), OverTheWire):
        return _free_estimate(lambda given: search(experiment, key, grid, given, images), request)
    return _framed(begun, dict.fromkeys(request.seeds, tried), images)


def _framed(
    begun: Begun, pending: Mapping[int, Sequence[Measurement]], searched: int | None = None
) -> Forecast:
    run = begun.opened(begun.request.seeds[0])
    if isinstance(run, Skipped):
        if searched is not None:
            raise BadInput(f"{begun.experiment.name}: {run.why}")
        return Forecast.of_stages(0, {}, memory_now(), [run.why])
    if searched is not None:
        shown = run.splits.held_out(searched, run.seed)
        run = replace(searching(run, searched), splits=shown)
    return experiment_estimate(run, pending)


def _left(begun: Begun) -> dict[int, list[Measurement]]:
    """Seed -> measurements without a record of these settings; which data one is of is not looked
    at.
    """
    experiment = begun.experiment
    known = KnownRecords(RecordStore(begun.request.out))

    def done(seed: int, one: Measurement) -> bool:
        record = known.called((experiment.name, experiment.scale, one.key, seed))
        return record is not None and not differences(experiment, one, seed, record)

    return {
        seed: [one for one in experiment.measurements if not done(seed, one)]
        for seed in begun.request.seeds
    }


def _one_seed(run: Framed, request: ExperimentRequest) -> None:
    """
    Raises:
        Unavailable: there are no data for it here.
    """
    opened = begin(run.experiment(request), request).opened(request.seeds[0])
    if isinstance(opened, Skipped):
        raise Unavailable(opened.why)
    for _ in opened.missing():
        pass


def _free_estimate(run: Callable[[ExperimentRequest], Any], request: ExperimentRequest) -> Forecast:
    """Of an experiment that no part of this room knows: one seed of it, with its loops cut short.

    Where that takes too long, the loops that it came to are counted.
    """
    with tempfile.TemporaryDirectory(prefix="splitlab-dry-") as folder:
        try:
            took = Clock().rehearsed(
                lambda watch: run(
                    replace(
                        request,
                        out=Path(folder) / "run",
                        cache=Path(folder) / "cache",
                        seeds=request.seeds[:1],
                        workers=1,
                        progress=watch,
                    )
                ),
                FREE_SECONDS,
            )
        except OutOfTime as error:
            stages = {loop.name: loop.seconds for loop in error.loops}
            missing = [f"what comes after {error}"]
        except Unavailable as error:
            return Forecast.of_stages(0, {}, memory_now(), [str(error)])
        else:
            stages = {loop.name: loop.seconds for loop in took.loops}
            stages["the rest"] = took.rest
            missing = []
    count = len(request.seeds)
    every = {what: count * taken for what, taken in stages.items()}
    return Forecast.of_stages(count, every, memory_now(), missing, "seeds")
