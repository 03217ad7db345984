"""A sweep's table as the page shows it: what an attack finds, and what a split point costs.

One row with everything is wider than any screen, and repeats a split point's costs beside every
attack. Columns stand in the order in which a reader wants them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.sweep.table import DECODER, Cell, SweepRow, SweepTable, floor_titles
from bench.sweep.wires import CHANGE
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM

FIRST = (
    *("split point", "attack", PSNR.heading, *floor_titles([PSNR])),
    *(DECODER, CHANGE, SSIM.heading),
)
"""Of the leakage, from the left; then the other metrics, then what the attack had."""
LAST = ("victims", "images")
WORDS = ("split point", "attack", "images", "wire")
"""Columns of words, which stand to the left; numbers stand to the right."""
NOTHING = frozenset({"", "n/a"})


@dataclass(frozen=True)
class PageColumn:
    """A heading, and whether words stand under it."""

    title: str
    word: bool = False


@dataclass(frozen=True)
class PageTable:
    """One table of a page; a row's cells are as many as the columns."""

    title: str
    columns: tuple[PageColumn, ...]
    rows: tuple[SweepRow, ...]


def page_tables(table: SweepTable) -> tuple[PageTable, PageTable]:
    """(leakage: a row for each split point and attack; costs: a row for each split point).

    A column without any value is left out. Where a split point's costs differ between its rows,
    each of them has its line.
    """
    titles = [t for t in table.columns if t in table.leakage and t != "knowledge"]
    middle = [t for t in titles if t not in FIRST + LAST]
    order = [t for t in (*FIRST, *middle, *LAST) if t == "split point" or t in titles]
    leakage = _part(
        "Leakage of each attack", order, [_with_knowledge(table, r) for r in table.rows]
    )
    costs = ["split point", *(t for t in table.columns[1:] if t not in table.leakage)]
    rows = [dict(zip(table.columns, row.cells, strict=True)) for row in table.rows]
    own = list(
        dict.fromkeys(
            (tuple(cells[t] for t in costs), row.best)
            for cells, row in zip(rows, table.rows, strict=True)
        )
    )
    each = [(dict(zip(costs, cells, strict=True)), best) for cells, best in own]
    return leakage, _part("Utility, rate and latency of each split point", costs, each)


def _with_knowledge(table: SweepTable, row: SweepRow) -> tuple[dict[str, Cell], bool]:
    """The row's cells by title, the knowledge below the attack's name."""
    cells = dict(zip(table.columns, row.cells, strict=True))
    cells["attack"] = Cell(cells["attack"].text, cells["knowledge"].text)
    return cells, row.best


def _part(
    title: str, order: Sequence[str], rows: Sequence[tuple[dict[str, Cell], bool]]
) -> PageTable:
    shown = [t for t in order if any(cells[t].text not in NOTHING for cells, _ in rows)]
    return PageTable(
        title,
        tuple(PageColumn(name, name in WORDS) for name in shown),
        tuple(SweepRow(tuple(cells[t] for t in shown), best) for cells, best in rows),
    )
