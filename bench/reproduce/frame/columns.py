"""Columns of an experiment's tables: a metric by its name, or a number that a record has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from bench.reproduce.frame.found import Outcomes
from splitlab.contracts.quantity import Digits, Quantity
from splitlab.contracts.registry import load_attribute
from splitlab.errors import BadInput
from splitlab.metrics import METRICS
from splitlab.record import Record


class Here(NamedTuple):
    """One record among those of its seed.

    Args:
        base: a record of the baseline, the same seed's; None where there is none.
    """

    record: Record
    own: Outcomes
    base: Record | None


@dataclass(frozen=True)
class Fact:
    """A number of a record that is no metric.

    Args:
        at: where it stands, such as "attack_facts.making.seconds", "" for 1; or a function of what
            is there.
        per: where the number stands that it is divided by.
        times: by what it is multiplied.
        change: whether the baseline's own number is taken from it.
        form: format of a mean over seeds.

    Raises:
        BadInput: a place that no record has.
    """

    at: str | Callable[[Here], float | None]
    _: KW_ONLY
    per: str = ""
    times: float = 1.0
    change: bool = False
    form: str = "z.1f"

    def __post_init__(self) -> None:
        for path in (self.at, self.per):
            field = path.partition(".")[0] if isinstance(path, str) else ""
            if field and field not in Record.model_fields:
                raise BadInput(
                    f"fact {path!r}: a record has no {field!r}; it has {', '.join(_FIELDS)}"
                )

    def read(self, here: Here) -> float | None:
        """The number; None where the record has none."""
        found = self._number(here)
        if self.change:
            base = None if here.base is None else self._number(here._replace(record=here.base))
            return None if found is None or base is None else found - base
        return found

    def mean(self, here: Sequence[Here]) -> str:
        """Over seeds, "n/a" where one has none."""
        return mean_text([self.read(one) for one in here], lambda value: format(value, self.form))

    def _number(self, here: Here) -> float | None:
        record, at = here.record, self.at
        found = at(here) if callable(at) else number_at(record, at)
        over = number_at(record, self.per)
        return None if found is None or not over else self.times * found / over


_FIELDS = [name for name, field in Record.model_fields.items() if "dict" in str(field.annotation)]


def number_at(record: Record, path: str) -> float | None:
    """What stands at "utility.accuracy" or "leakage.psnr.low"; 1 at "", None for no number."""
    if not path:
        return 1.0
    found: object = record
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else getattr(found, name, None)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


@dataclass(frozen=True)
class FactColumn(Quantity):
    """A fact with all that is shown of it, so that rows and claims can be about it.

    Args:
        fact: where it stands.
    """

    _: KW_ONLY
    fact: Fact


ACCURACY_CHANGE = FactColumn(
    "accuracy_change",
    "points",
    "rises",
    title="accuracy change",
    brief="acc. [pts]",
    digits=Digits(means=2),
    fact=Fact("utility.accuracy", change=True),
)
"""Of the victims' images that are classified rightly, against the undefended network."""
ACCURACY = FactColumn(
    "accuracy",
    "%",
    "rises",
    digits=Digits(means=1),
    bounds=(0.0, 100.0),
    fact=Fact("utility.accuracy"),
)
FACTS = {column.name: column for column in (ACCURACY, ACCURACY_CHANGE)}
Named = str | FactColumn
"""A column as it is declared: a metric's name, "module:attribute" of one, or a fact's column."""
DEFAULT: tuple[Named, ...] = (ACCURACY_CHANGE, "ssim", "psnr")


def column_of(named: Named) -> Quantity:
    """
    Raises:
        UnknownName: no metric is called that.
    """
    if isinstance(named, FactColumn):
        return named
    if named in FACTS:
        return FACTS[named]
    found: Quantity = load_attribute(named) if ":" in named else METRICS.load(named)
    return found


def leaks(columns: Sequence[Quantity]) -> list[Quantity]:
    """Those that say what leaks, the ones with a unit first."""
    return sorted(
        (q for q in columns if not isinstance(q, FactColumn)), key=lambda q: q.unit == "1"
    )


@dataclass(frozen=True)
class Value:
    """One row in one seed.

    Args:
        value: what stands in the column.
        floor: of who saw nothing, on the same items; None where that says nothing.
        ceiling: of a decoder with queries on the same deployment; None where there is none.
    """

    value: float
    floor: float | None = None
    ceiling: float | None = None


def value_of(column: Quantity, here: Here) -> Value | str:
    """What a record has in a column, or why it has nothing."""
    title = column.title or column.name
    if isinstance(column, FactColumn):
        if column.fact.change and here.base is None:
            return "the undefended network was not measured"
        found = column.fact.read(here)
        return f"the record has no {title}" if found is None else Value(found)
    told, floor = (of.get(column.name) for of in (here.record.leakage, here.record.floor))
    if told is None or told.mean is None:
        return (told.why if told is not None else "") or f"{column.name} could not be computed"
    return Value(told.mean, None if floor is None else floor.mean)


def mean_of(column: Quantity, here: Sequence[Here]) -> str:
    """Over seeds, as a table shows it; "n/a" where one has none."""
    values = [value_of(column, one) for one in here]
    return mean_text([v.value if isinstance(v, Value) else None for v in values], column.mean)


def mean_text(values: Sequence[float | None], text: Callable[[float], str]) -> str:
    """The mean of all, "n/a" where one is missing or there is none."""
    there = [value for value in values if value is not None]
    return text(sum(there) / len(there)) if there and len(there) == len(values) else "n/a"
