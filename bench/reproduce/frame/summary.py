"""From the records of all seeds to the rows of the table and the verdicts; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from bench.reproduce.frame.claims import Judged, Value, judge
from bench.reproduce.frame.costs import cost_table
from bench.reproduce.frame.experiment import (
    Experiment,
    ExperimentRow,
    ExtraTable,
    Found,
    MetricName,
    Skipped,
)
from bench.reproduce.frame.quantities import QUANTITIES
from splitlab.record import Record, doubts

METRICS: tuple[MetricName, ...] = get_args(MetricName)
FLOOR = "Floor: mean auxiliary image"


@dataclass(frozen=True)
class Spread:
    """A number over seeds: mean, smallest, largest, and each seed's own."""

    mean: float
    low: float
    high: float
    by_seed: dict[int, float]

    @classmethod
    def of(cls, by_seed: Mapping[int, float]) -> Spread | None:
        """None for no seed."""
        if not by_seed:
            return None
        values = list(by_seed.values())
        return cls(sum(values) / len(values), min(values), max(values), dict(by_seed))


@dataclass(frozen=True)
class RowSummary:
    """One line of the table.

    Args:
        metrics: None where there is no number.
        chosen: seed -> the measurement that is shown, where a row is the best of several.
        records: seed -> hash of its record.
        why: the reason, where the row was skipped in every seed.
    """

    row: ExperimentRow
    metrics: dict[MetricName, Spread | None]
    floor: dict[MetricName, Spread | None]
    chosen: dict[int, str] = field(default_factory=dict)
    records: dict[int, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            "key": self.row.key,
            "label": self.row.label,
            "attack": self.row.attack,
            "cell": self.row.cell,
            "measured": _jsoned(self.metrics),
            "floor": _jsoned(self.floor),
            "paper": dict(self.row.paper),
            "best_of": list(self.row.of) if len(self.row.of) > 1 else None,
            "best_by": self.row.best if len(self.row.of) > 1 else None,
            "chosen": {str(seed): key for seed, key in self.chosen.items()},
            "records": {str(seed): key for seed, key in self.records.items()},
            "doubts": list(self.doubts),
            "skipped": self.why or None,
        }


@dataclass(frozen=True)
class Summary:
    """All that the page, the table and `summary.json` show."""

    experiment: Experiment
    seeds: tuple[int, ...]
    rows: tuple[RowSummary, ...]
    judged: tuple[Judged, ...]
    tables: tuple[ExtraTable, ...]
    figure: str
    doubts: tuple[str, ...]
    environment: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        experiment = self.experiment
        setup = experiment.setup.model_dump(mode="json")
        return {
            "format": "splitlab/reproduction/1",
            "experiment": experiment.name,
            "title": experiment.title,
            "source": experiment.source,
            "scale": experiment.scale,
            "setup": {**setup, "dataset": experiment.setup.dataset.partition(":")[0]},
            "notes": list(experiment.notes),
            "seeds": list(self.seeds),
            "rows": [row.as_dict() for row in self.rows],
            "claims": [judged.as_dict() for judged in self.judged],
            "tables": [vars(table) for table in self.tables],
            "doubts": list(self.doubts),
            "environment": self.environment,
        }


def summarise(experiment: Experiment, found: Found) -> Summary:
    """Rows, claims and tables of what was found."""
    picked = {
        row.key: {seed: pick(row, own) for seed, own in found.items()} for row in experiment.rows
    }
    base = {seed: _accuracy_at(experiment.baseline, own) for seed, own in found.items()}
    rows = tuple(_row(row, picked[row.key], base) for row in experiment.rows)
    judged = []
    for claim in experiment.claims:
        sides = [
            {
                seed: _bounded(
                    _value(one, claim.metric, base[seed]),
                    one,
                    claim.metric,
                    experiment,
                    found[seed],
                )
                for seed, one in picked[key].items()
            }
            for key in (claim.row, claim.than)
            if key is not None
        ]
        judged.append(judge(claim, sides[0], sides[1] if len(sides) > 1 else None))
    records = [r for own in found.values() for r in own.values() if isinstance(r, Record)]
    tables = [cost_table(experiment, found)] if records else []
    if experiment.extra is not None and records:
        tables += experiment.extra(found)
    return Summary(
        experiment,
        tuple(found),
        rows,
        tuple(judged),
        tuple(tables),
        experiment.figure(found) if experiment.figure is not None and records else "",
        (*_doubts(found), *_over_ceiling(experiment, rows, found)),
        dict(records[0].environment) if records else {},
    )


def pick(row: ExperimentRow, own: Mapping[str, Record | Skipped]) -> Record | Skipped:
    """The record that a row shows in one seed: the only one, or the best by the row's metric."""
    made: list[Record] = []
    for key in row.of:
        one = own.get(key, Skipped("it was not measured"))
        if isinstance(one, Skipped):
            return one
        made.append(one)
    return max(made, key=lambda record: _mean(record, row.best))


def _mean(record: Record, metric: str) -> float:
    value = record.leakage[metric].mean
    return float("-inf") if value is None else value


def _accuracy_at(place: str, own: Mapping[str, Record | Skipped]) -> float | None:
    """Accuracy through the wire in %, of any record made at `place`."""
    for one in own.values():
        if isinstance(one, Record) and one.config["place"] == place:
            return one.utility["accuracy"]
    return None


def _value(one: Record | Skipped, metric: MetricName, base: float | None) -> Value | str:
    """One row's number in one seed, or why there is none."""
    if isinstance(one, Skipped):
        return f"skipped ({one.why})"
    if metric == "accuracy_change":
        if base is None:
            return "the undefended network was not measured"
        return Value(one.utility["accuracy"] - base)
    floor = one.floor[metric].mean
    value = one.leakage[metric].mean
    if value is None or floor is None:
        return one.leakage[metric].why or f"{metric} could not be computed"
    return Value(value, floor)


def _bounded(
    value: Value | str,
    one: Record | Skipped,
    metric: MetricName,
    experiment: Experiment,
    own: Mapping[str, Record | Skipped],
) -> Value | str:
    """The value with the best that a decoder with queries reads on the same deployment."""
    if isinstance(value, str) or isinstance(one, Skipped) or metric == "accuracy_change":
        return value
    place = one.config["place"]
    asked = [m.key for m in experiment.measurements if "observe" in m.knows]
    reads = [
        mean
        for key in asked
        if isinstance(record := own.get(key), Record)
        and record.config["place"] == place
        and (mean := record.leakage[metric].mean) is not None
    ]
    return replace(value, ceiling=max(reads, default=None))


def _row(
    row: ExperimentRow, picked: Mapping[int, Record | Skipped], base: Mapping[int, float | None]
) -> RowSummary:
    values = {
        metric: {seed: _value(one, metric, base[seed]) for seed, one in picked.items()}
        for metric in METRICS
    }
    made = {seed: one for seed, one in picked.items() if isinstance(one, Record)}
    whys = sorted({one.why for one in picked.values() if isinstance(one, Skipped)})
    told = [f"seed {s}: {doubt}" for s, one in made.items() for doubt in one.doubts]
    return RowSummary(
        row,
        {
            m: Spread.of({s: v.value for s, v in own.items() if isinstance(v, Value)})
            for m, own in values.items()
        },
        {
            m: Spread.of(
                {s: v.floor for s, v in own.items() if isinstance(v, Value) and v.floor is not None}
            )
            for m, own in values.items()
        },
        {s: str(one.config["measurement"]) for s, one in made.items()} if len(row.of) > 1 else {},
        {s: one.hash for s, one in made.items()},
        tuple(told),
        "" if made else "; ".join(whys),
    )


def _doubts(found: Found) -> list[str]:
    """What the records of each seed, side by side, make one doubt; said once where seeds agree."""
    by_text: dict[str, list[int]] = {}
    for seed, own in found.items():
        records: Sequence[Record] = [r for r in own.values() if isinstance(r, Record)]
        for doubt in doubts(records) if records else []:
            by_text.setdefault(doubt, []).append(seed)
    return [f"seed {', '.join(map(str, seeds))}: {text}" for text, seeds in by_text.items()]


def _over_ceiling(experiment: Experiment, rows: Sequence[RowSummary], found: Found) -> list[str]:
    """Rows that read more than the decoder with queries does, which is no ceiling to them."""
    asked = {m.key for m in experiment.measurements if "observe" in m.knows}
    told = []
    for row in rows:
        for metric in ("psnr", "ssim"):
            over = []
            for seed, own in found.items():
                one = pick(row.row, own)
                if isinstance(one, Skipped) or asked & set(row.row.of):
                    continue
                value = _bounded(_value(one, metric, None), one, metric, experiment, own)
                if isinstance(value, Value) and value.ceiling is not None:
                    over += (
                        [seed] if value.value > value.ceiling + QUANTITIES[metric].resolved else []
                    )
            if over:
                told.append(
                    f"seed {', '.join(map(str, over))}: {row.row.label} is above its ceiling in "
                    f"{metric.upper()}; the decoder with queries is no bound there"
                )
    return told


def _jsoned(spreads: Mapping[MetricName, Spread | None]) -> dict[str, Any]:
    return {
        name: None
        if value is None
        else {
            "mean": value.mean,
            "min": value.low,
            "max": value.high,
            "by_seed": {str(seed): one for seed, one in value.by_seed.items()},
        }
        for name, value in spreads.items()
    }
