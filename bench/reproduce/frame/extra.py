"""Declared tables beside the rows: facts and metrics of the lines, directions, order of a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.reproduce.frame.columns import Fact, Here, Value, column_of, mean_of, value_of
from bench.reproduce.frame.experiment import Experiment, ExtraTable, Found, Line
from splitlab.contracts.quantity import Quantity

CellOf = str | Fact | tuple[Fact, ...] | Callable[[Line], str] | None
"""A metric's name, a fact, several facts in one cell, a text of the line; None for what it tells
under the heading itself."""
BACKBONES = {"alex": "lpips_alex", "squeeze": "lpips_squeeze"}
"""Of LPIPS, by whichever has weights here; their numbers do not compare."""
LPIPS: Mapping[str, CellOf] = {f"LPIPS ({name})": metric for name, metric in BACKBONES.items()}
PERCEIVED = (
    "Smaller is nearer to the image. The paper's backbone is not named; alex is LPIPS's default. "
    "Without its weights a backbone is n/a, see --lpips-weights; numbers of two do not compare."
)


@dataclass(frozen=True)
class InPaper:
    """The paper's own number, "" where it has none.

    Args:
        name: in the line's `paper`.
    """

    name: str

    def __call__(self, line: Line) -> str:
        number = line.paper.get(self.name)
        return "" if number is None else f"{number:g}"


def headed(*metrics: str) -> dict[str, CellOf]:
    """Metrics under their own headings."""
    return {column_of(metric).heading: metric for metric in metrics}


def label(line: Line) -> str:
    """The line's own."""
    return line.label


def cell_text(heading: str, cell: CellOf, line: Line, here: Sequence[Here]) -> str:
    """Mean over seeds; what the line tells under this heading comes before what records say."""
    if cell is None or heading in line.told:
        return line.told.get(heading, "")
    if isinstance(cell, str):
        return mean_of(column_of(cell), here)
    if isinstance(cell, Fact):
        return cell.mean(here)
    if isinstance(cell, tuple):
        return " / ".join(fact.mean(here) for fact in cell)
    return cell(line)


@dataclass(frozen=True)
class FactTable:
    """Columns of some lines, those that were measured.

    Args:
        columns: heading -> what stands there.
        lines: their keys; all lines where it is empty.
        told_only: whether a line is left out of which no record has any of the facts.
    """

    title: str
    columns: Mapping[str, CellOf]
    lines: tuple[str, ...] = ()
    note: str = ""
    told_only: bool = False

    def __call__(self, experiment: Experiment, found: Found) -> list[ExtraTable]:
        rows = []
        facts = [cell for cell in self.columns.values() if isinstance(cell, Fact)]
        for line in map(experiment.line, self.lines) if self.lines else experiment.lines:
            here = experiment.here(found, line)
            if self.told_only:
                here = [one for one in here if any(f.read(one) is not None for f in facts)]
            if here:
                rows.append(tuple(cell_text(*item, line, here) for item in self.columns.items()))
        return [ExtraTable(self.title, tuple(self.columns), tuple(rows), self.note)]


@dataclass(frozen=True)
class Directions:
    """Which of two lines leaks more by other metrics, which no claim judges; means over seeds.

    Args:
        pairs: (text, key of what should leak more, key of the other).
        metrics: how the table calls it -> the metric.
        called: heading of that, and of the metrics' numbers.
    """

    title: str
    pairs: tuple[tuple[str, str, str], ...]
    metrics: Mapping[str, str]
    called: tuple[str, str]

    def __call__(self, experiment: Experiment, found: Found) -> list[ExtraTable]:
        rows = []
        for text, *keys in self.pairs:
            seeds = [
                [experiment.here({seed: own}, experiment.line(key)) for key in keys]
                for seed, own in found.items()
            ]
            both = [(left[0], right[0]) for left, right in seeds if left and right]
            for name, metric in self.metrics.items():
                column = column_of(metric)
                means = [mean_of(column, [pair[side] for pair in both]) for side in (0, 1)]
                if "n/a" not in means:
                    gains = [column.gain(*_numbers(column, pair)) for pair in both]
                    held = sum(gain > 0 for gain in gains)
                    rows.append((text, name, *means, f"{held} of {len(both)} seeds"))
        columns = ("direction", *self.called, "of the other", "holds in")
        return [ExtraTable(self.title, columns, tuple(rows))] if rows else []


@dataclass(frozen=True)
class RankTable:
    """Does a metric fall along a row of lines, seed by seed?

    Args:
        lines: keys, in order.
        along: what they are ordered by, as in "block 1 on".
        below: Spearman's correlation up to which it falls.
    """

    title: str
    metric: str
    lines: tuple[str, ...]
    along: str
    below: float = -0.6

    def __call__(self, experiment: Experiment, found: Found) -> list[ExtraTable]:
        from scipy.stats import spearmanr

        column, rows = column_of(self.metric), []
        for seed, own in found.items():
            curve = [
                (number, told.value)
                for number, key in enumerate(self.lines)
                for one in experiment.here({seed: own}, experiment.line(key))
                if isinstance(told := value_of(column, one), Value)
            ]
            if len(curve) >= 3:
                rho = float(spearmanr(*zip(*curve, strict=True)).statistic)
                verdict = "holds" if rho <= self.below else "does not hold"
                values = ", ".join(column.number(value) for _, value in curve)
                rows.append((str(seed), values, f"{rho:z.2f}", verdict))
        heading = f"{column.heading}, {self.along}"
        columns = ("seed", heading, "Spearman", f"below {self.below:g}")
        return [ExtraTable(self.title, columns, tuple(rows))]


def _numbers(column: Quantity, pair: tuple[Here, Here]) -> tuple[float, float]:
    """Of two records that have them."""
    left, right = (value_of(column, one) for one in pair)
    assert isinstance(left, Value)
    assert isinstance(right, Value)
    return left.value, right.value


def perceived() -> FactTable:
    """LPIPS of every line, beside the paper's."""
    columns: Mapping[str, CellOf] = {"row": label, **LPIPS, "paper: LPIPS": InPaper("lpips")}
    return FactTable("As an eye would see it", columns, note=PERCEIVED)


def lpips_orders(pairs: tuple[tuple[str, str, str], ...]) -> Directions:
    """Directions by what an eye would see; pairs are (text, nearer to the image, the other)."""
    return Directions("Directions by LPIPS", pairs, BACKBONES, ("backbone", "LPIPS"))
