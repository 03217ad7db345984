"""Doubts that only show when the records of a run stand side by side; a pure function."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from splitlab.contracts import Quantity
from splitlab.contracts.kinds import KINDS
from splitlab.record.evidence_doubts import evidence_doubts
from splitlab.record.latency_doubts import latency_doubts
from splitlab.record.record import Record


def doubts(records: Sequence[Record]) -> list[str]:
    """What a careful reader would question about these records together.

    Mixed commits, machines or data; a black box that beats a white box; an unaware attack that
    beats the adaptive one; a split whose answer differs from the whole network's; networks at
    chance and numbers of images that tell little; latencies that do not compare.
    """
    if not records:
        return ["the run has no records yet"]
    found = _mixed(records)
    by_place: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        by_place[record.split["name"], str(record.config.get("defense"))].append(record)
    for (split, _), group in by_place.items():
        for quantity, own in _by_headline(group):
            found += _box_order(split, own, quantity) + _awareness_order(split, own, quantity)
        for record in group:
            agreement = record.utility.get("agreement")
            if agreement is not None and agreement < 100.0 and record.config["defense"] == "none":
                found.append(
                    f"{split}: {100 - agreement:z.2f} % of the answers through the wire differ "
                    "from the whole network's"
                )
                break
    return [*found, *evidence_doubts(records), *latency_doubts(records)]


def _mixed(records: Sequence[Record]) -> list[str]:
    found = []
    for what, values in (
        ("commits", {str(r.environment.get("commit")) for r in records}),
        ("machines", {str(r.environment.get("cpu")) for r in records}),
        ("data splits", {r.data_hash for r in records}),
        ("method versions", {str(r.method_version) for r in records}),
    ):
        if len(values) > 1:
            shown = ", ".join(sorted(v[:12] for v in values))
            found.append(f"the records come from {len(values)} {what} ({shown})")
    if any("+changes" in str(r.environment.get("commit")) for r in records):
        found.append("some records were measured with uncommitted changes")
    return found


def _by_headline(group: Sequence[Record]) -> list[tuple[Quantity, list[Record]]]:
    """Records by the number that their kind is judged by; of kinds that are not the lab's, none."""
    found: dict[str, list[Record]] = defaultdict(list)
    for record in group:
        found[record.estimates].append(record)
    return [(KINDS[name].headline, own) for name, own in found.items() if name in KINDS]


def _revealed(record: Record, quantity: Quantity) -> float | None:
    told = record.leakage.get(quantity.name)
    return told.mean if told else None


def _most(quantity: Quantity, *values: float) -> float:
    return max(values, key=lambda value: quantity.gain(value, 0.0))


def _box_order(split: str, group: Sequence[Record], quantity: Quantity) -> list[str]:
    """A black box above the white box with the same knowledge of the defence."""
    best: dict[tuple[str, str], float] = {}
    counts: dict[tuple[str, str], int] = {}
    for record in group:
        value = _revealed(record, quantity)
        box = record.threat.get("box")
        if value is not None and box in ("white", "black"):
            key = (str(record.config.get("knowledge")), box)
            best[key] = _most(quantity, best.get(key, value), value)
            counts[key] = record.leakage[quantity.name].items
    return [
        f"{split}: the black-box attack ({quantity.told(black)}) beats the white-box attack "
        f"({quantity.told(best[knowledge, 'white'])}), which knows more{_on(counts, knowledge)}; "
        "the white box is not at its best"
        for (knowledge, box), black in sorted(best.items())
        if box == "black"
        and (knowledge, "white") in best
        and not quantity.failed(black, best[knowledge, "white"])
    ]


def _on(counts: dict[tuple[str, str], int], knowledge: str) -> str:
    black, white = counts[knowledge, "black"], counts[knowledge, "white"]
    return "" if black == white else f", on {black} and {white} victims"


def _awareness_order(split: str, group: Sequence[Record], quantity: Quantity) -> list[str]:
    """An attack that does not know the defence above the same attack that does."""
    best: dict[tuple[str, str], float] = {}
    for record in group:
        value = _revealed(record, quantity)
        if value is not None:
            key = (str(record.config.get("attack")), str(record.config.get("knowledge")))
            best[key] = _most(quantity, best.get(key, value), value)
    return [
        f"{split}: {attack} unaware of the defence ({quantity.told(unaware)}) beats {attack} that "
        f"models it ({quantity.told(best[attack, 'adaptive'])})"
        for (attack, knowledge), unaware in sorted(best.items())
        if knowledge == "unaware"
        and (attack, "adaptive") in best
        and not quantity.failed(unaware, best[attack, "adaptive"])
    ]
