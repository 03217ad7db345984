"""Kinds of figures: curves over a swept value, bars, utility against leakage; inline SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from bench.report.drawing import COLOURS, drawing, inline
from bench.reproduce.frame.columns import Named, Value, column_of, number_at, value_of
from bench.reproduce.frame.experiment import Experiment, ExtraTable, Found, Line
from splitlab.contracts.quantity import Quantity


@dataclass(frozen=True)
class Curve:
    """Lines of the table over a swept value.

    Args:
        points: (value, key of the line).
    """

    name: str
    points: tuple[tuple[float, str], ...]


class Reach(NamedTuple):
    """A number over seeds, and the lowest and highest that any of them allows."""

    mean: float
    low: float
    high: float


def reach(column: Quantity, experiment: Experiment, found: Found, key: str) -> Reach | None:
    """One line's number: ends of its intervals where there are some. None where it has none."""
    means: list[float] = []
    ends: list[float] = []
    for here in experiment.here(found, experiment.line(key)):
        value = value_of(column, here)
        if isinstance(value, Value):
            paths = (f"leakage.{column.name}.{end}" for end in ("low", "high"))
            given = [number_at(here.record, path) for path in paths]
            means.append(value.value)
            ends += [value.value, *(end for end in given if end is not None)]
    return Reach(sum(means) / len(means), min(ends), max(ends)) if means else None


@dataclass(frozen=True)
class Swept:
    """Curves over a swept value; with a second column a panel each, and an axis to its right.

    Args:
        over: the swept value, in words.
    """

    over: str
    curves: tuple[Curve, ...]
    left: Named
    right: Named | None = None

    def __call__(self, experiment: Experiment, found: Found) -> str:
        if self.right is None:
            return self._one(experiment, found)
        left, right = column_of(self.left), column_of(self.right)
        panels = [self.numbers(curve, experiment, found) for curve in self.curves]
        highest = max((row[2].mean for rows in panels for row in rows), default=1.0)
        count = max(len(panels), 1)
        with drawing() as plt:
            figure, axes = plt.subplots(
                1, count, figsize=(3.6 * count, 3.2), layout="constrained", squeeze=False
            )
            for axis, curve, rows in zip(axes[0], self.curves, panels, strict=False):
                values = [row[0] for row in rows]
                axis.plot(values, [r[1].mean for r in rows], marker="o", ms=4, color=COLOURS[0])
                axis.set(title=curve.name, xlabel=self.over)
                if None not in left.bounds:
                    axis.set_ylim(*left.bounds)
                axis.set_ylabel(axis_label(left), color=COLOURS[0])
                other = axis.twinx()
                other.plot(values, [r[2].mean for r in rows], marker="s", ms=4, color=COLOURS[1])
                other.set_ylabel(axis_label(right), color=COLOURS[1])
                other.set_ylim(0, 1.1 * highest)
            return inline(plt, figure)

    def _one(self, experiment: Experiment, found: Found) -> str:
        with drawing() as plt:
            figure, axis = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
            for number, curve in enumerate(self.curves):
                rows = self.numbers(curve, experiment, found)
                values = [row[0] for row in rows]
                own = {"color": COLOURS[number % len(COLOURS)]}
                axis.plot(
                    values, [r[1].mean for r in rows], marker="o", ms=4, label=curve.name, **own
                )
                lows, highs = [r[1].low for r in rows], [r[1].high for r in rows]
                axis.fill_between(values, lows, highs, alpha=0.2, lw=0, **own)
            ticks = sorted({value for curve in self.curves for value, _ in curve.points})
            axis.set(xlabel=self.over, ylabel=axis_label(column_of(self.left)), xticks=ticks)
            if len(self.curves) > 1:
                axis.legend(frameon=False)
            return inline(plt, figure)

    def numbers(
        self, curve: Curve, experiment: Experiment, found: Found
    ) -> list[tuple[float, Reach, Reach]]:
        """(swept value, left, right) of each point that has both."""
        columns = [column_of(self.left), column_of(self.right or self.left)]
        rows = []
        for value, key in curve.points:
            left, right = (reach(column, experiment, found, key) for column in columns)
            if left is not None and right is not None:
                rows.append((value, left, right))
        return rows


@dataclass(frozen=True)
class CurveTable:
    """What a chart of curves shows, as numbers.

    Args:
        name: what its curves are, in a heading.
    """

    title: str
    chart: Swept
    name: str
    note: str = ""

    def __call__(self, experiment: Experiment, found: Found) -> list[ExtraTable]:
        chart = self.chart
        sides = [column_of(side) for side in (chart.left, chart.right) if side is not None]
        rows = [
            (curve.name, f"{value:g}", *(s.mean(r.mean) for s, r in zip(sides, both, strict=False)))
            for curve in chart.curves
            for value, *both in chart.numbers(curve, experiment, found)
        ]
        columns = (self.name, chart.over, *(side.heading for side in sides))
        return [ExtraTable(self.title, columns, tuple(rows), self.note)]


@dataclass(frozen=True)
class Bars:
    """A bar a line and a panel a column, smallest to largest over seeds, the paper's as a mark.

    Args:
        lines: their keys; all lines where it is empty.
    """

    columns: tuple[Named, ...]
    lines: tuple[str, ...] = ()

    def __call__(self, experiment: Experiment, found: Found) -> str:
        lines = chosen(experiment, self.lines)
        names = [line.label for line in lines]
        with drawing() as plt:
            size = (3.6 * len(self.columns), 0.8 + 0.3 * len(lines))
            figure, axes = plt.subplots(
                1, len(self.columns), figsize=size, layout="constrained", sharey=True, squeeze=False
            )
            for axis, column in zip(axes[0], map(column_of, self.columns), strict=True):
                for row, line in enumerate(lines):
                    number = reach(column, experiment, found, line.key)
                    if number is not None:
                        axis.barh(row, number.mean, color=COLOURS[0], height=0.6)
                        axis.plot([number.low, number.high], [row, row], color="#333", lw=1)
                    if column.name in line.paper:
                        axis.plot(line.paper[column.name], row, marker="D", color=COLOURS[1], ms=5)
                axis.set(xlabel=axis_label(column), yticks=range(len(lines)), yticklabels=names)
            axes[0][0].invert_yaxis()
            return inline(plt, figure)


@dataclass(frozen=True)
class Scatter:
    """A point a line, such as utility against leakage; of one colour what is attacked alike.

    Args:
        across, up: columns.
        lines: their keys; all lines where it is empty.
    """

    across: Named
    up: Named
    lines: tuple[str, ...] = ()

    def __call__(self, experiment: Experiment, found: Found) -> str:
        lines = chosen(experiment, self.lines)
        across, up = column_of(self.across), column_of(self.up)
        attacks = list(dict.fromkeys(line.attack for line in lines))
        with drawing() as plt:
            figure, axis = plt.subplots(figsize=(5.4, 4.0), layout="constrained")
            for line in lines:
                at = [reach(column, experiment, found, line.key) for column in (across, up)]
                if at[0] is None or at[1] is None:
                    continue
                colour = COLOURS[attacks.index(line.attack) % len(COLOURS)]
                place = (at[0].mean, at[1].mean)
                axis.plot([at[0].low, at[0].high], [place[1]] * 2, color=colour, lw=0.8)
                axis.plot([place[0]] * 2, [at[1].low, at[1].high], color=colour, lw=0.8)
                axis.plot(*place, marker="o", ms=5, color=colour, ls="")
                axis.annotate(line.label, place, xytext=(4, 4), textcoords="offset points")
            for number, attack in enumerate(attacks if len(attacks) > 1 else ()):
                colour = COLOURS[number % len(COLOURS)]
                axis.plot([], [], marker="o", ls="", color=colour, label=attack)
            if len(attacks) > 1:
                axis.legend(frameon=False)
            axis.set(xlabel=axis_label(across), ylabel=axis_label(up))
            return inline(plt, figure)


def chosen(experiment: Experiment, keys: tuple[str, ...]) -> list[Line]:
    """The lines of these keys, all for none."""
    return [line for line in experiment.lines if not keys or line.key in keys]


def axis_label(column: Quantity) -> str:
    """The short one, where there is one."""
    return column.brief or column.heading
