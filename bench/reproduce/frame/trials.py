"""What a search tried and what came of it, and how that is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any, Self

from rich.table import Table

from splitlab.contracts import Kind, Quantity
from splitlab.record import Record

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """One setting on one seed's validation images: means, what it cost, and its doubts.

    Args:
        numbers: by metric, of the kind that is estimated, and "seconds"; empty where it failed.
        floor: the same of an answer that needs nothing seen.
        failed: why it did, "" where it did not.
    """

    settings: Settings
    seed: int
    numbers: Mapping[str, float] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()
    failed: str = ""

    @classmethod
    def of(cls, settings: Settings, seed: int, made: Record | str) -> Self:
        """Of its record, or of why there is none."""
        if isinstance(made, str):
            return cls(settings, seed, failed=made)
        effort = made.effort["fit_seconds"] + made.effort["reconstruct_seconds"]
        own, floor = (
            {name: told.mean for name, told in of.items() if told.mean is not None}
            for of in (made.leakage, made.floor)
        )
        return cls(settings, seed, {**own, "seconds": effort}, floor, made.doubts)

    @property
    def told(self) -> dict[str, Any]:
        """JSON: the numbers under their names, a floor as "floor_psnr"."""
        rest = {"doubts": list(self.doubts), "failed": self.failed}
        return {"settings": self.settings, "seed": self.seed, **self.values, **rest}

    @property
    def values(self) -> dict[str, float]:
        """All numbers by name."""
        return {**self.numbers, **{f"floor_{name}": value for name, value in self.floor.items()}}


@dataclass(frozen=True)
class Tried:
    """One setting with its trials, a seed each."""

    settings: Settings
    trials: tuple[Trial, ...]

    def mean(self, name: str) -> float | None:
        """Of one of the trials' numbers; None where one is missing."""
        values = [trial.values[name] for trial in self.trials if name in trial.values]
        return mean(values) if len(values) == len(self.trials) else None

    @property
    def told(self) -> dict[str, Any]:
        """JSON: every trial, and the means of what all have."""
        names = dict.fromkeys(name for trial in self.trials for name in trial.values)
        means = {name: self.mean(name) for name in names}
        return {"settings": self.settings, "trials": [one.told for one in self.trials], **means}


@dataclass(frozen=True)
class Searched:
    """All trials of a search.

    Args:
        tried: each setting of the grid, the one that reveals most first.
        by: in this number.
        beside: other numbers that are shown.
        path: of the records.
    """

    tried: tuple[Tried, ...]
    by: Quantity
    beside: tuple[Quantity, ...]
    path: Path

    @classmethod
    def of(cls, tried: Iterable[Tried], kind: Kind, shown: Sequence[Quantity], path: Path) -> Self:
        """Ordered by the number that says whether an attack on this kind failed.

        Args:
            shown: the columns of the experiment's table.
        """
        by, own = kind.headline, {metric.name for metric in kind.load_metrics()}

        def gain(one: Tried) -> float:
            value = one.mean(by.name)
            return float("-inf") if value is None else by.gain(value, 0.0)

        beside = tuple(one for one in shown if one.name in own and one.name != by.name)
        return cls(tuple(sorted(tried, key=gain, reverse=True)), by, beside, path)


def table(found: Searched) -> Table:
    """For a terminal: means over seeds, the best first."""
    drawn, by = Table(header_style="bold", pad_edge=False), found.by
    for name in found.tried[0].settings:
        drawn.add_column(name)
    beside = [one.heading for one in found.beside]
    for name in (by.heading, "by seed", *beside, by.heading_of("floor"), "seconds", "doubts"):
        drawn.add_column(name, justify="left" if name == "doubts" else "right")
    for one in found.tried:
        said = [words for t in one.trials for words in (*t.doubts, t.failed) if words]
        seconds = one.mean("seconds")
        drawn.add_row(
            *map(str, one.settings.values()),
            _text(by, one.mean(by.name)),
            ", ".join(_text(by, trial.values.get(by.name)) for trial in one.trials),
            *(_text(other, one.mean(other.name)) for other in found.beside),
            _text(by, one.mean(f"floor_{by.name}")),
            "failed" if seconds is None else f"{seconds:z.1f}",
            "; ".join(dict.fromkeys(said)),
        )
    return drawn


def _text(quantity: Quantity, value: float | None) -> str:
    return "failed" if value is None else quantity.mean(value)
