"""What is shown of a record's numbers: from the metric itself, wherever it is registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adversary.registry import attack_of_file
from splitlab.contracts import Kind, Quantity
from splitlab.contracts.kinds import KINDS
from splitlab.errors import SplitLabError
from splitlab.metrics import METRICS
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.record import Leakage, Record

FLOOR = "what needs nothing seen"
"""A floor's answer where the kind is of a package that is not installed here."""


def quantity_of(name: str, record: Record) -> Quantity:
    """The metric of this name: the lab's, or that of the attack's own kind.

    A record may be of a package that is not installed here; it then tells unit and direction.
    """
    if name in METRICS:
        known: Quantity = METRICS.load(name)
        return known
    told, kind = record.leakage[name], kind_of(record)
    own = {metric.name: metric for metric in kind.load_metrics()} if kind is not None else {}
    return own.get(name) or Quantity(name, told.unit, told.leakage)


def kind_of(record: Record) -> Kind | None:
    """What the attack estimates; None of a package that is not installed here, or not imported."""
    known = KINDS.get(record.estimates)
    try:
        own: Kind = attack_of_file(str(record.config.get("attack"))).estimates
    except (SplitLabError, ImportError):
        return known
    return own if own.name == record.estimates else known


def floor_is(records: Sequence[Record]) -> str:
    """What the floors of these records answer, in the words of the kinds."""
    kinds = [kind_of(record) for record in records]
    words = dict.fromkeys(kind.floor_is if kind is not None else FLOOR for kind in kinds)
    return " or ".join(words)


def floor_briefly(records: Sequence[Record]) -> str:
    """The same where there is little room."""
    kinds = [kind_of(record) for record in records]
    words = dict.fromkeys((k.floor_brief or k.floor_is) if k is not None else FLOOR for k in kinds)
    return " or ".join(words)


def views(records: Sequence[Record]) -> str:
    """What the pictures of these records show, in the words of the kinds."""
    kinds = [kind_of(record) for record in records if record.images]
    beside = "An estimate beside its truth."
    words = dict.fromkeys((k.view_is or beside) if k is not None else beside for k in kinds)
    return " ".join(words)


def quantities(records: Sequence[Record]) -> dict[str, Quantity]:
    """All that stand in a record's leakage, the lab's first and in its order."""
    found: dict[str, Quantity] = {}
    for record in records:
        for name in record.leakage:
            if name not in found:
                found[name] = quantity_of(name, record)
    known = [name for name in METRICS if name in found]
    return {name: found[name] for name in (*known, *(n for n in found if n not in known))}


def headline(record: Record) -> Quantity:
    """The number that says whether the attack failed; PSNR of a record without any."""
    for name in record.leakage:
        if (quantity := quantity_of(name, record)).margin is not None:
            return quantity
    return PSNR


def headlines(records: Sequence[Record]) -> list[Quantity]:
    """Of all records, each once; PSNR, which places are judged by, first."""
    found = {one.name: one for one in map(headline, records)}
    return sorted(found.values(), key=lambda one: one.name != PSNR.name)


def value_in(numbers: Mapping[str, Leakage], quantity: Quantity) -> float | None:
    """The mean, None where there is none."""
    told = numbers.get(quantity.name)
    return told.mean if told is not None else None
