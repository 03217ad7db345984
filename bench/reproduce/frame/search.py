"""Settings of an attack, tried on validation images of an experiment's network; no victim is read.

A trial is a point like any other, with validation images in the victims' place. What is found is a
suggestion for the experiment's own settings, which stand in its file; victims are scored with those
alone.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from adversary.registry import attack_of
from adversary.synthesis.settings import SynthesisSettings
from bench.executors import recorded
from bench.point.identity.config import PointConfig
from bench.point.identity.known import KnownRecords
from bench.point.lab import Lab
from bench.point.measure import make_attack
from bench.point.run import ready
from bench.reproduce.frame.experiment import Experiment, Measurement, Skipped
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import begin
from bench.reproduce.frame.seed_run import SeedRun
from bench.reproduce.frame.trials import Searched, Settings, Trial, Tried
from bench.roles.nursery import nursery
from splitlab.errors import BadInput, SplitLabError, UnknownName
from splitlab.record import Record, RecordStore
from splitlab.training import Work

SYNTHESIS = "synthesis."


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """{"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}]."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def search(
    experiment: Experiment,
    key: str,
    grid: Mapping[str, Sequence[Any]],
    request: ExperimentRequest,
    images: int,
) -> Searched:
    """Try every combination of `grid` on each of the request's seeds; the best stands first.

    Networks and synthetic images are those of `bench reproduce` in the same folder. Each trial has
    a record under `search/`; one that failed has none, and is tried again.

    Args:
        key: of the measurement whose attack is tried, with what that is granted.
        grid: hyper-parameter -> values; "synthesis.NAME" is one of the making of its images.
        images: of the validation partition, to be scored; the others may be granted.

    Raises:
        UnknownName: no such measurement.
        BadInput: a setting that the attack has not, or fewer validation images.
    """
    settings, variants = combinations(grid), variants_of(experiment, key, grid)
    begun, store = begin(experiment, request), RecordStore(request.out / "search")
    work: Work | None = None
    found: list[list[Trial]] = [[] for _ in variants]
    for seed in request.seeds:
        run = begun.run(seed)
        if isinstance(run, Skipped):
            raise BadInput(f"{experiment.name}: {run.why}")
        run, known = searching(run, images), KnownRecords(store)
        with replace(run.lab, run=store.run) as lab:
            for own, variant, trials in zip(settings, variants, found, strict=True):
                point = _trial(run, variant)
                record = known.of(point, run.splits.hash)
                if record is None:
                    done, every = sum(map(len, found)), len(variants) * len(request.seeds)
                    work = work or request.progress.task(f"search {key}", every, done)
                    nursery()
                    ready([point], lab)
                trials.append(Trial.of(own, seed, record or _made(point, lab)))
                if work is not None:
                    work.advance(1)
    if work is not None:
        work.close()
    kind = attack_of(variants[0].attack).estimates
    tried = [Tried(own, tuple(trials)) for own, trials in zip(settings, found, strict=True)]
    return Searched.of(tried, kind, experiment.shown, store.folder)


def _made(point: PointConfig, lab: Lab) -> Record | str:
    """The record of a trial, or why there is none."""
    try:
        outcome = recorded(point, lab, lab.progress)
    except SplitLabError as error:
        return str(error)
    attack = make_attack(point.attack, point.attack_options)
    shutil.rmtree(lab.checkpoint(point, attack).parent, ignore_errors=True)
    return outcome.why if isinstance(outcome, Skipped) else outcome


def searching(run: SeedRun, images: int) -> SeedRun:
    """The seed with `images` validation images in the victims' place.

    Raises:
        BadInput: fewer validation images.
    """
    shown, wanted = run.splits.held_out(images, run.seed), run.setup.validation
    assert wanted is not None
    own = {"victims": images, "validation": min(wanted, len(shown.validation))}
    return replace(run, setup=run.setup.model_copy(update=own))


def _trial(run: SeedRun, variant: Measurement) -> PointConfig:
    return run.point(replace(variant, limit=None)).model_copy(update={"searched": True})


def variants_of(
    experiment: Experiment, key: str, grid: Mapping[str, Sequence[Any]]
) -> list[Measurement]:
    """The measurement `key` with each combination of settings.

    Raises:
        UnknownName, BadInput: as `search`.
    """
    known = {m.key: m for m in experiment.measurements}
    if key not in known:
        raise UnknownName(f"measurement of {experiment.name}", key, known)
    return [_variant(known[key], own) for own in combinations(grid)]


def _variant(measurement: Measurement, settings: Settings) -> Measurement:
    """
    Raises:
        BadInput: a setting that the attack or the synthesis has not, or synthesis where the
            adversary has real images.
    """
    own = {k: v for k, v in settings.items() if not k.startswith(SYNTHESIS)}
    making = {k.removeprefix(SYNTHESIS): v for k, v in settings.items() if k.startswith(SYNTHESIS)}
    if making:
        if (made := measurement.synthetic) is None:
            fields = ", ".join(SYNTHESIS + name for name in making)
            raise BadInput(f"{measurement.key} has real images; leave out {fields}")
        making = {**made.settings, **making}
        SynthesisSettings.configured(making)
        measurement = replace(measurement, synthetic=replace(made, settings=making))
    measurement = replace(measurement, options={**measurement.options, **own})
    make_attack(measurement.attack, measurement.options)
    return measurement
