"""A reproduction as tables: for a terminal, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from bench.reproduce.frame.experiment import ExtraTable
from bench.reproduce.frame.summary import RowSummary, Spread, Summary
from splitlab.contracts.quantity import Quantity
from splitlab.storage import write_bytes

STYLES = {"holds": "green", "does not hold": "red", "holds in some seeds": "yellow"}


def shown(column: Quantity, value: Spread | None) -> str:
    """The mean, "" where there is none."""
    return "" if value is None else column.mean(value.mean)


def ranged(column: Quantity, value: Spread | None) -> str:
    """Smallest to largest over seeds, "" for one seed."""
    if value is None or len(value.by_seed) < 2:
        return ""
    return f"{column.mean(value.low)}..{column.mean(value.high)}"


def printed(value: float | None) -> str:
    """A number as the paper prints it, "" where it has none."""
    return "" if value is None else f"{value:zg}"


class TableLine(NamedTuple):
    """A line of the table as text.

    Args:
        why: it was skipped, "" where it was measured.
        cells: (mean, smallest to largest over seeds) of each column.
        paper: of each column in which the paper has a number.
        floor: whether it is what needs nothing seen.
    """

    label: str
    attack: str
    why: str
    cells: list[tuple[str, str]]
    paper: list[str]
    floor: bool = False


def table_lines(summary: Summary) -> list[TableLine]:
    """The rows, and behind them the floors."""

    def cells(numbers: Mapping[str, Spread | None]) -> list[tuple[str, str]]:
        own = ((column, numbers[column.name]) for column in summary.columns)
        return [(shown(*one), ranged(*one)) for one in own]

    def paper(numbers: Mapping[str, float]) -> list[str]:
        return [printed(numbers.get(column.name)) for column in summary.in_paper]

    rows = [
        TableLine(one.row.label, one.row.attack, one.why, cells(one.metrics), paper(one.row.paper))
        for one in summary.rows
    ]
    floors = [
        TableLine("Floor", told, "", cells(floor), paper({}), floor=True)
        for told, floor in floor_lines(summary)
    ]
    return rows + floors


LONGEST_NUMBER, LONGEST_WORD = 8, 26


def rich_parts(summary: Summary) -> list[RenderableType]:
    """The table, the verdicts and the extra tables, for a terminal."""
    columns, in_paper = summary.columns, summary.in_paper
    seeds = ", ".join(map(str, summary.seeds))
    title = f"{summary.experiment.title} ({summary.experiment.scale} scale, seeds {seeds})"
    drawn = Table(title=title, header_style="bold", pad_edge=False)
    drawn.add_column("row", overflow="fold")
    drawn.add_column("attack", overflow="fold")
    for column in columns:
        drawn.add_column(column.brief_heading, justify="right")
    for column in in_paper:
        drawn.add_column(f"paper\n{column.brief_heading}", justify="right", style="dim")
    for number, line in enumerate(table_lines(summary), 1):
        texts = [mean if line.floor or not span else f"{mean}\n{span}" for mean, span in line.cells]
        if line.why:
            texts = [f"skipped ({line.why})", *[""] * (len(columns) - 1)]
        last = number == len(summary.rows)
        drawn.add_row(line.label, line.attack, *texts, *line.paper, end_section=last)
    parts: list[RenderableType] = [drawn]
    for judged in summary.judged:
        colour = STYLES.get(judged.verdict, "yellow")
        why = f": {judged.reason}" if judged.reason else ""
        parts.append(Text.assemble((judged.verdict, colour), f"  {judged.claim.text}{why}"))
    return [*parts, *map(_extra, summary.tables)]


def floor_lines(summary: Summary) -> list[tuple[str, Mapping[str, Spread | None]]]:
    """(whose floor it is, its numbers): one for all rows that show the same, most rows first.

    Rows whose attack was run on other victims have a floor of their own.
    """
    columns = summary.columns
    groups: dict[tuple[str, ...], list[RowSummary]] = {}
    for row in summary.rows:
        if any(row.floor.values()):
            own = [row.floor[column.name] for column in columns]
            texts = (shown(*pair) + ranged(*pair) for pair in zip(columns, own, strict=True))
            groups.setdefault((row.floor_is, *texts), []).append(row)
    found = sorted(groups.items(), key=lambda item: len(item[1]), reverse=True)
    told: list[tuple[str, Mapping[str, Spread | None]]] = []
    for (floor_is, *_), rows in found:
        name = "; ".join(f"{one.row.label}, {one.row.attack}" for one in rows)
        whose = f", for {name}" if told else ", for all other rows" if len(found) > 1 else ""
        told.append((floor_is + whose, rows[0].floor))
    return told


def _extra(table: ExtraTable) -> Table:
    """Without columns of long words, which the page has room for."""
    drawn = Table(title=table.title, header_style="bold", pad_edge=False)
    left_out = []
    columns = []
    for number, name in enumerate(table.columns):
        values = [row[number] for row in table.rows]
        longest = max(map(len, values), default=0)
        if number and longest > LONGEST_WORD:
            left_out.append(name)
            continue
        numeric = bool(number) and longest <= LONGEST_NUMBER
        drawn.add_column(
            name.replace(" ", "\n") if numeric else name,
            justify="right" if numeric else "left",
            no_wrap=numeric,
            overflow="fold",
        )
        columns.append(values)
    for row in zip(*columns, strict=True):
        drawn.add_row(*row)
    more = f"The page also has: {', '.join(left_out)}." if left_out else ""
    drawn.caption = " ".join(filter(None, (table.note, more)))
    return drawn


def write_csv(path: Path, summary: Summary) -> None:
    """One line a row of the table: mean, smallest and largest over seeds, floor, paper."""
    text = io.StringIO()
    names = [column.name for column in summary.experiment.shown]
    numbers = [
        f"{metric}.{what}" for metric in names for what in ("mean", "min", "max", "floor", "paper")
    ]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["key", "label", "attack", "seeds", *numbers, "doubts", "skipped"])
    for row in summary.rows:
        cells: list[object] = []
        for metric in names:
            value, floor = row.metrics[metric], row.floor[metric]
            cells += ["", "", ""] if value is None else [value.mean, value.low, value.high]
            cells += ["" if floor is None else floor.mean, row.row.paper.get(metric, "")]
        named = [row.row.key, row.row.label, row.row.attack, len(row.records)]
        writer.writerow([*named, *cells, "; ".join(row.doubts), row.why])
    write_bytes(path, text.getvalue().encode())
