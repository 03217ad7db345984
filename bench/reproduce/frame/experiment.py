"""An experiment as data: what is measured where, and what is shown, claimed and drawn of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from adversary.registry import attack_of
from bench.point.grants import GrantRequest
from bench.point.recipe import Knowledge
from bench.point.setup import Place, Scale, Setup, Synthetic
from bench.reproduce.frame.columns import DEFAULT, Here, Named, column_of
from bench.reproduce.frame.found import Found, Outcomes, Skipped
from splitlab.contracts.quantity import Quantity
from splitlab.errors import BadInput, UnknownName
from splitlab.record import Record

__all__ = ["Claim", "Experiment", "ExtraTable", "Found", "Line", "Measurement", "Skipped"]
Relation = Literal["below", "above", "near", "at least", "at most"]


@dataclass(frozen=True)
class Measurement:
    """One attack on one deployment, once a seed.

    Args:
        key: unique in the experiment.
        place: what is attacked.
        attack, options: name and hyper-parameters.
        knows: fields that are granted beside auxiliary and validation images; "observe" stands for
            the setup's number of queries.
        share: of the auxiliary images that the adversary has; with 0 it has no image at all.
        images: how many of them, where it is a number and not a share.
        synthetic: what it has instead of auxiliary and validation images; None for real ones.
        limit: victims that are attacked; None for all.
    """

    key: str
    place: Place
    attack: str
    options: Mapping[str, Any] = field(default_factory=dict)
    knows: frozenset[str] = frozenset()
    share: float = 1.0
    images: int | None = None
    synthetic: Synthetic | None = None
    limit: int | None = None

    def grant(self, setup: Setup) -> GrantRequest:
        """What the adversary is given, in numbers; `setup` is counted."""
        flags: dict[str, Any] = {name: True for name in self.knows if name != "observe"}
        if "oracle" in flags:
            flags["oracle"] = attack_of(self.attack).answers
        if (made := self.synthetic) is not None:
            return GrantRequest(
                **flags,
                auxiliary=made.images,
                validation=made.HELD_OUT,
                observe=made.images if "observe" in self.knows else 0,
                synthetic=made.layers,
            )
        assert setup.auxiliary is not None
        assert setup.validation is not None
        return GrantRequest(
            **flags,
            auxiliary=self.images
            or (max(2, round(self.share * setup.auxiliary)) if self.share else 0),
            validation=setup.validation if self.share else 0,
            observe=setup.queries if "observe" in self.knows else 0,
        )

    @property
    def knowledge(self) -> Knowledge:
        """Whether the adversary knows of the defence, told or by queries that show it."""
        if self.place.defense == "none":
            return "undefended"
        return "adaptive" if self.knows & {"defense", "observe", "oracle"} else "unaware"


@dataclass(frozen=True)
class Line:
    """One line of the table, with the measurements that it shows.

    Args:
        label: as in the paper, where it has this line.
        attack: how it was attacked, in a word or two.
        of: of several the best is shown, seed by seed.
        best: by which metric; chosen with the truth, as the papers do.
        paper: the paper's numbers, by column.
        cell: (row, column) in an experiment that is a grid.
        told: heading of an extra table -> what this line has there, where no record says it.
        key: unique in the experiment; that of the first measurement where it is "".
    """

    label: str
    attack: str
    of: tuple[Measurement, ...]
    best: str = "ssim"
    paper: Mapping[str, float] = field(default_factory=dict)
    cell: tuple[str, str] | None = None
    told: Mapping[str, str] = field(default_factory=dict)
    key: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", self.key or self.of[0].key)

    def pick(self, own: Outcomes) -> Record | Skipped:
        """The record that is shown of one seed: the only one, or the best."""
        made: list[Record] = []
        for measurement in self.of:
            one = own.get(measurement.key, Skipped("it was not measured"))
            if isinstance(one, Skipped):
                return one
            made.append(one)
        return made[0] if len(made) == 1 else max(made, key=self._reads)

    def _reads(self, record: Record) -> float:
        told = record.leakage.get(self.best)
        if told is None or told.mean is None:
            return float("-inf")
        return column_of(self.best).gain(told.mean, 0.0)


@dataclass(frozen=True)
class Claim:
    """A direction that the paper states, or that its argument needs.

    Args:
        text: in words.
        metric: a column, or another metric of both rows.
        row: key of the line it speaks of.
        relation: "below" and "above" compare with `than`; "near" allows `margin` either way;
            "at least" and "at most" compare with `margin` alone.
        than: key of another line.
        otherwise: what it means where the claim does not hold.
    """

    text: str
    metric: str
    row: str
    relation: Relation
    than: str | None = None
    margin: float = 0.0
    otherwise: str = ""


@dataclass(frozen=True)
class ExtraTable:
    """A table that is computed from the records; columns behind the first without any text go."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def __post_init__(self) -> None:
        kept = [
            n == 0 or not self.rows or any(row[n] for row in self.rows)
            for n in range(len(self.columns))
        ]
        object.__setattr__(self, "columns", tuple(itertools.compress(self.columns, kept)))
        rows = tuple(tuple(itertools.compress(row, kept)) for row in self.rows)
        object.__setattr__(self, "rows", rows)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of a paper at one scale.

    Args:
        name: on the command line.
        title, source: for the page.
        lines: with their measurements; a measurement is made once in however many lines it is.
        claims: directions, each of which gets a verdict.
        notes: what a reader must know to read the numbers rightly.
        columns: of the table, metrics by name or facts of the record.
        baseline: name of the place whose facts the others are compared with.
        tables: beyond the lines, each declared or a function of what was found.
        chart: what is drawn: an inline SVG.
        timed: whether its seconds are results, so that nothing may run beside them.
        gap: what stands in a cell of a grid that has no line.

    Raises:
        BadInput: it does not fit together.
        UnknownName: a metric that is none.
    """

    name: str
    title: str
    source: str
    scale: Scale
    setup: Setup
    lines: tuple[Line, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[Named, ...] = DEFAULT
    baseline: str = "none"
    tables: tuple[Callable[[Experiment, Found], list[ExtraTable]], ...] = ()
    chart: Callable[[Experiment, Found], str] | None = None
    timed: bool = False
    gap: str = "not measured"

    def __post_init__(self) -> None:
        made: dict[str, Measurement] = {}
        for one in (one for line in self.lines for one in line.of):
            if made.setdefault(one.key, one) != one:
                raise BadInput(f"{self.name}: two measurements are called {one.key!r}")
        keys = [line.key for line in self.lines]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise BadInput(f"{self.name}: line {', '.join(twice)} stands there twice")
        named = {key for claim in self.claims for key in (claim.row, claim.than) if key}
        if unknown := sorted(named - {*keys}):
            raise BadInput(f"{self.name}: claims name lines that are not there: {unknown}")
        for metric in {claim.metric for claim in self.claims}:
            self.column(metric)
        for line in self.lines:
            column_of(line.best)

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """Each once, in the order of the lines."""
        return tuple({one.key: one for line in self.lines for one in line.of}.values())

    @property
    def places(self) -> list[Place]:
        """Every deployment, in the order in which it is first attacked.

        Raises:
            BadInput: two deployments of one name.
        """
        found: dict[str, Place] = {}
        for measurement in self.measurements:
            place = measurement.place
            if found.setdefault(place.name, place) != place:
                raise BadInput(f"{self.name}: two deployments are called {place.name!r}")
        return list(found.values())

    @property
    def shown(self) -> tuple[Quantity, ...]:
        """The columns with all that is shown of them."""
        return tuple(map(column_of, self.columns))

    def column(self, name: str) -> Quantity:
        """One of the columns, or another metric.

        Raises:
            UnknownName: it is neither.
        """
        own = {quantity.name: quantity for quantity in self.shown}
        return own.get(name) or column_of(name)

    def line(self, key: str) -> Line:
        """
        Raises:
            UnknownName: no line has this key.
        """
        by_key = {line.key: line for line in self.lines}
        if key not in by_key:
            raise UnknownName(f"line of {self.name}", key, by_key)
        return by_key[key]

    def here(self, found: Found, line: Line) -> list[Here]:
        """What a line shows of each seed that has it."""
        picked = ((line.pick(own), own) for own in found.values())
        return [Here(one, own, self.base(own)) for one, own in picked if isinstance(one, Record)]

    def base(self, own: Outcomes) -> Record | None:
        """One seed's first record that was made at the baseline."""
        return at_place(self.baseline, own)

    def extra(self, found: Found) -> list[ExtraTable]:
        """The declared tables of what was found."""
        return [table for make in self.tables for table in make(self, found)]

    def figure(self, found: Found) -> str:
        """What is drawn, "" for nothing."""
        return self.chart(self, found) if self.chart is not None else ""


def at_place(place: str, own: Outcomes) -> Record | None:
    """One seed's first record that was made at a place."""
    made = (r for r in own.values() if isinstance(r, Record) and r.config["place"] == place)
    return next(made, None)
