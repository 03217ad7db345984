"""From the records of all seeds to the rows of the table and the verdicts; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.report.quantities import FLOOR, kind_of
from bench.reproduce.frame.claims import Judged, judge
from bench.reproduce.frame.columns import FactColumn, Here, Value, leaks, value_of
from bench.reproduce.frame.costs import cost_table
from bench.reproduce.frame.experiment import Claim, Experiment, ExtraTable, Line
from bench.reproduce.frame.found import Found, Outcomes, Skipped, records_in
from splitlab.contracts.quantity import Quantity
from splitlab.record import Record, doubts


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
        metrics, floor: by column; None where there is no number.
        chosen: seed -> the measurement that is shown, where a row is the best of several.
        records: seed -> hash of its record.
        why: the reason, where the row was skipped in every seed.
        floor_is: what the floor answers.
    """

    row: Line
    metrics: dict[str, Spread | None]
    floor: dict[str, Spread | None]
    chosen: dict[int, str] = field(default_factory=dict)
    records: dict[int, str] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    why: str = ""
    floor_is: str = ""

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
            "best_of": [one.key for one in self.row.of] if len(self.row.of) > 1 else None,
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

    @property
    def columns(self) -> list[Quantity]:
        """Those in which any row has a number; all where none has."""
        shown = self.experiment.shown
        filled = [one for one in shown if any(row.metrics[one.name] for row in self.rows)]
        return filled or list(shown)

    @property
    def in_paper(self) -> list[Quantity]:
        """Those in which the paper has a number for any row."""
        return [c for c in self.experiment.shown if any(c.name in r.row.paper for r in self.rows)]

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
    records = records_in(found)
    rows = tuple(_row(experiment, line, found) for line in experiment.lines)
    return Summary(
        experiment,
        tuple(found),
        rows,
        tuple(_judged(experiment, claim, found) for claim in experiment.claims),
        (cost_table(experiment, found), *experiment.extra(found)) if records else (),
        experiment.figure(found) if records else "",
        (*_doubts(found), *_over_ceiling(experiment, found)),
        dict(records[0].environment) if records else {},
    )


def _judged(experiment: Experiment, claim: Claim, found: Found) -> Judged:
    column = experiment.column(claim.metric)
    sides = [
        {
            seed: _bounded(_value(experiment, line, column, own), experiment, line, column, own)
            for seed, own in found.items()
        }
        for line in map(experiment.line, filter(None, (claim.row, claim.than)))
    ]
    return judge(claim, sides[0], sides[1] if len(sides) > 1 else None, column)


def _value(experiment: Experiment, line: Line, column: Quantity, own: Outcomes) -> Value | str:
    """One line's number in one seed, or why there is none."""
    one = line.pick(own)
    if isinstance(one, Skipped):
        return f"skipped ({one.why})"
    return value_of(column, Here(one, own, experiment.base(own)))


def _bounded(
    value: Value | str, experiment: Experiment, line: Line, column: Quantity, own: Outcomes
) -> Value | str:
    """The value with the best that a decoder with queries reads on the same deployment."""
    one = line.pick(own)
    if isinstance(value, str) or isinstance(one, Skipped) or isinstance(column, FactColumn):
        return value
    asked = [own.get(key) for key in _asking(experiment)]
    reads = [
        told.mean
        for record in asked
        if isinstance(record, Record)
        and record.config["place"] == one.config["place"]
        and (told := record.leakage.get(column.name)) is not None
        and told.mean is not None
    ]
    best = max(reads, key=lambda mean: column.gain(mean, 0.0), default=None)
    return replace(value, ceiling=best)


def _asking(experiment: Experiment) -> set[str]:
    """Keys of the measurements that may send queries and know no more: the ceilings."""
    return {
        m.key for m in experiment.measurements if "observe" in m.knows and "head" not in m.knows
    }


def _row(experiment: Experiment, line: Line, found: Found) -> RowSummary:
    picked = {seed: line.pick(own) for seed, own in found.items()}
    values = {
        column.name: {s: _value(experiment, line, column, own) for s, own in found.items()}
        for column in experiment.shown
    }
    made = {seed: one for seed, one in picked.items() if isinstance(one, Record)}
    whys = sorted({one.why for one in picked.values() if isinstance(one, Skipped)})
    told = [f"seed {s}: {doubt}" for s, one in made.items() for doubt in one.doubts]
    return RowSummary(
        line,
        {
            name: Spread.of({s: v.value for s, v in own.items() if isinstance(v, Value)})
            for name, own in values.items()
        },
        {
            name: Spread.of(
                {s: v.floor for s, v in own.items() if isinstance(v, Value) and v.floor is not None}
            )
            for name, own in values.items()
        },
        {s: str(one.config["measurement"]) for s, one in made.items()} if len(line.of) > 1 else {},
        {s: one.hash for s, one in made.items()},
        tuple(told),
        "" if made else "; ".join(whys),
        next(map(_floor_is, made.values()), ""),
    )


def _floor_is(record: Record) -> str:
    kind = kind_of(record)
    return (kind.floor_brief or kind.floor_is) if kind is not None else FLOOR


def _doubts(found: Found) -> list[str]:
    """What the records of each seed, side by side, make one doubt; said once where seeds agree."""
    by_text: dict[str, list[int]] = {}
    for seed, own in found.items():
        records = records_in({seed: own})
        for doubt in doubts(records) if records else []:
            by_text.setdefault(doubt, []).append(seed)
    return [f"seed {', '.join(map(str, seeds))}: {text}" for text, seeds in by_text.items()]


def _over_ceiling(experiment: Experiment, found: Found) -> list[str]:
    """Lines that read more than the decoder with queries does, which is no ceiling to them.

    Those that know the head beside the queries are meant to.
    """
    told = []
    asking = _asking(experiment)
    more = {m.key for m in experiment.measurements if {"head", "observe"} <= m.knows}
    for line in (o for o in experiment.lines if not (asking | more) & {m.key for m in o.of}):
        for column in leaks(experiment.shown):
            over = []
            for seed, own in found.items():
                value = _value(experiment, line, column, own)
                value = _bounded(value, experiment, line, column, own)
                if isinstance(value, Value) and value.ceiling is not None:
                    gain = column.gain(value.value, value.ceiling)
                    over += [seed] if gain > column.resolved else []
            if over:
                told.append(
                    f"seed {', '.join(map(str, over))}: {line.label} is above its ceiling in "
                    f"{column.title or column.name}; the decoder with queries is no bound there"
                )
    return told


def _jsoned(spreads: Mapping[str, Spread | None]) -> dict[str, Any]:
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
