"""An experiment as data: where networks are cut, what is measured there, which rows and claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.point.grants import GrantRequest
from bench.point.recipe import Knowledge
from bench.point.run import Skipped as Skipped
from bench.point.setup import Place, Scale, Setup, Synthetic
from splitlab.errors import BadInput
from splitlab.record import Record

MetricName = Literal["accuracy_change", "ssim", "psnr"]
Relation = Literal["below", "above", "near", "at least"]


@dataclass(frozen=True)
class Measurement:
    """One attack on one deployment, once a seed.

    Args:
        key: unique in the experiment.
        place: what is attacked.
        attack, options: name and hyper-parameters.
        knows: fields that are granted beside auxiliary and validation images; "observe" stands for
            the setup's number of queries.
        share: of the auxiliary images that the adversary has.
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
            auxiliary=self.images or max(2, round(self.share * setup.auxiliary)),
            validation=setup.validation,
            observe=setup.queries if "observe" in self.knows else 0,
        )

    @property
    def knowledge(self) -> Knowledge:
        """Whether the adversary knows of the defence, told or by queries that show it."""
        if self.place.defense == "none":
            return "undefended"
        return "adaptive" if self.knows & {"defense", "observe"} else "unaware"


@dataclass(frozen=True)
class ExperimentRow:
    """One line of the table.

    Args:
        key: unique in the experiment.
        label: as in the paper, where it has this line.
        attack: how it was attacked, in a word or two.
        of: keys of measurements; of several the best is shown, seed by seed.
        best: by which metric; chosen with the true images, as the paper does.
        paper: the paper's numbers, accuracy change in points, SSIM, PSNR in dB.
        cell: (row, column) in an experiment that is a grid.
    """

    key: str
    label: str
    attack: str
    of: tuple[str, ...]
    best: Literal["ssim", "psnr"] = "ssim"
    paper: Mapping[str, float] = field(default_factory=dict)
    cell: tuple[str, str] | None = None


@dataclass(frozen=True)
class Claim:
    """A direction that the paper states, or that its argument needs.

    Args:
        text: in words.
        metric: of both rows.
        row: key of the row it speaks of.
        relation: "below" and "above" compare with `than`; "near" allows `margin` either way;
            "at least" compares with `margin` alone.
        than: key of another row.
        otherwise: what it means where the claim does not hold.
    """

    text: str
    metric: MetricName
    row: str
    relation: Relation
    than: str | None = None
    margin: float = 0.0
    otherwise: str = ""


@dataclass(frozen=True)
class ExtraTable:
    """A table that is computed from the records."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


Found = Mapping[int, Mapping[str, Record | Skipped]]
"""seed -> key of the measurement -> what came of it."""


@dataclass(frozen=True)
class Experiment:
    """A table or figure of a paper at one scale.

    Args:
        name: on the command line.
        title, source: for the page.
        notes: what a reader must know to read the numbers rightly.
        baseline: name of the place whose accuracy the others are compared with.
        extra: tables beyond the rows.
        figure: an inline SVG of what was found.
        timed: whether its seconds are results, so that nothing may run beside them.
    """

    name: str
    title: str
    source: str
    scale: Scale
    setup: Setup
    measurements: tuple[Measurement, ...]
    rows: tuple[ExperimentRow, ...]
    claims: tuple[Claim, ...] = ()
    notes: tuple[str, ...] = ()
    baseline: str = "none"
    extra: Callable[[Found], list[ExtraTable]] | None = None
    figure: Callable[[Found], str] | None = None
    timed: bool = False

    def __post_init__(self) -> None:
        for what, keys in (
            ("measurement", [m.key for m in self.measurements]),
            ("row", [row.key for row in self.rows]),
        ):
            if len(set(keys)) != len(keys):
                twice = sorted({key for key in keys if keys.count(key) > 1})
                raise BadInput(f"{self.name}: {what} {', '.join(twice)} stands there twice")
        known = {m.key for m in self.measurements}
        rows = {row.key for row in self.rows}
        named = {key for claim in self.claims for key in (claim.row, claim.than) if key}
        if unknown := sorted({key for row in self.rows for key in row.of} - known):
            raise BadInput(f"{self.name}: rows name measurements that are not made: {unknown}")
        if unknown := sorted(named - rows):
            raise BadInput(f"{self.name}: claims name rows that are not there: {unknown}")

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
