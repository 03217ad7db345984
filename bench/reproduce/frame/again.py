"""An experiment's table and page from its records alone, found by what they say.

Records whose settings are not today's are shown all the same, and one line says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from bench.point.identity.known import KnownRecords, of_record
from bench.point.setup import Scale, Setup
from bench.reproduce.frame.clock import SeedClock
from bench.reproduce.frame.experiment import Experiment, Measurement, Skipped
from bench.reproduce.frame.request import ExperimentRequest, Shown, Target
from bench.reproduce.frame.run import GIVEN_DATA, Framed, show
from bench.reproduce.frame.seed_run import point_of
from bench.reproduce.registry import EXPERIMENTS, MOVABLE
from splitlab import entry_points
from splitlab.contracts.registry import Registry
from splitlab.errors import BadInput, SplitLabError
from splitlab.record import Record, RecordStore
from splitlab.storage import read_json

COUNTS = {"train": "train_images", "validation": "validation_images", "victims": "victims"}
"""Numbers of a setup that may follow the data -> the field of a point."""
NOT_MEASURED = Skipped("it was not measured")


def is_experiment(records: Sequence[Record]) -> bool:
    """Whether all are of experiments that are known here, which have tables of their own."""
    known = set(Registry("experiment", EXPERIMENTS, entry_points.EXPERIMENT_GROUP))
    return bool(records) and all(record.config.get("experiment") in known for record in records)


def shown_again(run: Path) -> Shown:
    """Write table, summary and page of a folder whose records are of one experiment.

    Raises:
        BadInput: they are of several, or of a scale that this version has not.
        UnknownName: no such experiment.
        Corrupt: a record is damaged.
    """
    store = RecordStore(run)
    records, known = store.all(), KnownRecords(store)
    if any(record.config.get("searched") for record in records):
        raise BadInput(f"{run} holds trials on validation images; give the experiment's own folder")
    named = {(str(r.config["experiment"]), str(r.config.get("scale", ""))) for r in records}
    if len(named) != 1:
        names = "; ".join(" at scale ".join(one) for one in sorted(named))
        raise BadInput(f"{run} holds records of {names}; give a folder of one experiment")
    ((name, scale),) = named
    framed = Registry("experiment", EXPERIMENTS, entry_points.EXPERIMENT_GROUP).load(name)
    if not isinstance(framed, Framed) or scale not in get_args(Scale):
        raise BadInput(f"{run}: {name} at scale {scale!r} has no table of records here")
    setup = _kept_setup(run, records)
    request = ExperimentRequest(out=run, scale="paper" if scale == "paper" else "quick")
    experiment = _as_measured(framed, name, request, setup)
    seeds = _seeds(run, records)
    found = {
        seed: {
            one.key: known.called((name, scale, one.key, seed)) or NOT_MEASURED
            for one in experiment.measurements
        }
        for seed in seeds
    }
    told = (*other_settings(experiment, found), *_no_longer(experiment, records))
    clock = SeedClock(run).seconds or _summary(run).get("seconds", {})
    return show(experiment, replace(request, seeds=seeds), found, clock, told)


def other_settings(
    experiment: Experiment, found: Mapping[int, Mapping[str, Record | Skipped]]
) -> tuple[str, ...]:
    """One line where records were measured with other settings than the experiment has now."""
    fields: dict[str, None] = {}
    count = 0
    for seed, own in found.items():
        for one in experiment.measurements:
            record = own.get(one.key)
            if isinstance(record, Record):
                differing = differences(experiment, one, seed, record)
                count += bool(differing)
                fields |= dict.fromkeys(differing)
    if not count:
        return ()
    return (
        f"{count} records were measured with other settings than {experiment.name} has now "
        f"({', '.join(fields)}); `bench reproduce` measures them again",
    )


def _no_longer(experiment: Experiment, records: Sequence[Record]) -> tuple[str, ...]:
    known = {one.key for one in experiment.measurements}
    gone = {str(record.config["measurement"]) for record in records} - known
    if not gone:
        return ()
    return (
        f"{experiment.name} has no row any more for what is measured as {', '.join(sorted(gone))}",
    )


def differences(
    experiment: Experiment, measurement: Measurement, seed: int, record: Record
) -> list[str]:
    """Names of what today's declaration has otherwise; numbers that follow the data are as there.

    What cannot be compared, of a record that this version cannot read, is "all of it".
    """
    was = of_record(record)
    if was is None:
        return ["all of it"]
    try:
        setup = _counted(experiment.setup, measurement, was.model_dump())
        now = point_of(experiment, setup, seed, measurement, was.weights_hash).depends()
    except SplitLabError:
        return ["all of it"]
    before = was.depends()
    found = []
    for name in sorted({*before, *now}):
        one, other = before.get(name), now.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            found += [f"{name}.{k}" for k in {**one, **other} if one.get(k) != other.get(k)]
        else:
            found.append(name)
    return found


def _counted(setup: Setup, measurement: Measurement, was: Mapping[str, Any]) -> Setup:
    """With what the data decided when the record was made."""
    update: dict[str, Any] = {"dataset": was["dataset"]}
    for name, field in COUNTS.items():
        asked = getattr(setup, name)
        update[name] = was[field] if asked is None else asked
    granted = was["granted"].get("auxiliary", 2)
    update["auxiliary"] = setup.auxiliary or max(1, round(granted / (measurement.share or 1)))
    update["queries"] = min(setup.queries, update["auxiliary"], was["queries"])
    return setup.model_copy(update=update)


def _as_measured(
    framed: Framed, name: str, request: ExperimentRequest, setup: Mapping[str, Any]
) -> Experiment:
    """The experiment at the network, the depth and on the data that the folder is of."""
    own = framed.build(request.scale)
    base = own.setup.model_dump(mode="json")
    moved = {k: v for k, v in setup.items() if k in ("model", "head_end", "tail_start") and v}
    moved |= {k: tuple(v) for k, v in setup.items() if k in ("mean", "std") and v}
    if name in MOVABLE and any(
        base.get(k) != v for k, v in {**base, **setup}.items() if k in moved
    ):
        target = Target(
            model=moved["model"] if moved["model"] != base["model"] else None,
            split=moved.get("head_end"),
            tail=moved.get("tail_start"),
            mean=moved.get("mean"),
            std=moved.get("std"),
        )
        own = framed.experiment(replace(request, target=target))
    if (kind := setup.get("dataset", "")) != own.setup.dataset.partition(":")[0]:
        setup_now = own.setup.model_copy(update={"dataset": kind})
        own = replace(own, setup=setup_now, notes=(*own.notes, GIVEN_DATA))
    return own


def _kept_setup(run: Path, records: Sequence[Record]) -> Mapping[str, Any]:
    """What the folder says of its network, cut and data, else the deepest of its records."""
    try:
        return read_json(run / "experiment.json")
    except SplitLabError:
        pass
    if setup := _summary(run).get("setup"):
        found: Mapping[str, Any] = setup
        return found
    deepest = max(records, key=lambda record: int(record.split.get("index", 0))).config
    names = ("model", "dataset", "mean", "std", "tail_start")
    return {**{k: deepest.get(k) for k in names}, "head_end": deepest.get("split")}


def _summary(run: Path) -> dict[str, Any]:
    try:
        return read_json(run / "summary.json")
    except SplitLabError:
        return {}


def _seeds(run: Path, records: Sequence[Record]) -> tuple[int, ...]:
    """In the order in which they were asked for, where that is kept."""
    there = sorted({int(record.config["seed"]) for record in records})
    kept = [seed for seed in _summary(run).get("seeds", ()) if seed in there]
    return (*kept, *(seed for seed in there if seed not in kept))
