"""What each defence costs, from the records: accuracy, bytes, computation and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import defenses
from bench.point.setup import Place
from bench.reproduce.frame.experiment import Experiment, ExtraTable, Found
from splitlab.record import Record

COLUMNS = (
    "deployment",
    "defence",
    "accuracy [%]",
    "change [points]",
    "bodies",
    "KiB up",
    "KiB down",
    "client MMACs",
    "server and tail MMACs",
    "p50 [ms]",
)


def cost_table(experiment: Experiment, found: Found) -> ExtraTable:
    """One row a deployment, mean over seeds; what no record tells is "n/a"."""
    rows = []
    base = _of(experiment.baseline, found)
    for place in experiment.places:
        records = _of(place.name, found)
        if records:
            rows.append(_row(place, records, base))
    note = (
        "Means over seeds, measured through the wire on the victims' images, a request of eight "
        "images over loopback. MACs: one network's behind the head, times the number of bodies."
    )
    made = [r for own in found.values() for r in own.values() if isinstance(r, Record)]
    if any(r.environment.get("side_by_side") for r in made):
        note += " Milliseconds were taken while other deployments were measured on the same cores."
    return ExtraTable("Accuracy and cost of each deployment", COLUMNS, tuple(rows), note)


def bodies_of(defense: str) -> int:
    """How many networks the server runs for one image under this defence."""
    return max((getattr(one, "N", 1) for one in defenses.parse(defense).defenses), default=1)


def _of(place: str, found: Found) -> list[Record]:
    """One record of each seed made at `place`; utility, rate and latency are the same in all."""
    firsts = []
    for own in found.values():
        made = (r for r in own.values() if isinstance(r, Record) and r.config["place"] == place)
        if (first := next(made, None)) is not None:
            firsts.append(first)
    return firsts


def _row(place: Place, records: Sequence[Record], base: Sequence[Record]) -> tuple[str, ...]:
    accuracy = _mean([r.utility["accuracy"] for r in records])
    change = accuracy - _mean([r.utility["accuracy"] for r in base])
    bodies = bodies_of(place.defense)
    split = records[0].split
    return (
        place.name,
        place.defense,
        _text(accuracy, 1),
        _text(change, 2),
        str(bodies),
        _text(_mean([r.rate["payload_up"] for r in records]) / 1024, 1),
        _text(_mean([r.rate["payload_down"] for r in records]) / 1024, 2),
        _text(split["head_macs"] / 1e6, 2),
        _text(bodies * split["rest_macs"] / 1e6, 2),
        _text(_mean([r.latency.get("total", {}).get("p50", math.nan) for r in records]), 1),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _text(value: float, digits: int) -> str:
    return "n/a" if math.isnan(value) else f"{value:z.{digits}f}"
