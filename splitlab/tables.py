"""Tables that part no word: as they are where there is room, else closer, else row by row."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

WIDEST = 10_000
"""Columns of a table in a file or a pipe, at most."""
LITTLE = 4
"""Columns that one which wants no more gets, even where others then get less of what is left."""


def needed(table: Table, console: Console) -> int:
    """Columns in which nothing of a table is cut or folded."""
    boundless = console.options.update(max_width=WIDEST)
    return min(WIDEST, Measurement.get(console, boundless, table).maximum)


def fitted(table: Table, console: Console, width: int) -> RenderableType:
    """The table for `width` columns; rich alone would part words of a wide one in their middle.

    Where its longest words have no room beside each other, padding goes, then lines; where they
    have none then either, each row becomes lines of its own, a heading and a value each.
    """
    for tried in (_copied(table), _close(table), _closest(table)):
        every = [_widths(column, console) for column in tried.columns]
        around = needed(tried, console) - sum(most for _, most in every)
        least = sum(least for least, _ in every)
        if around + least <= width:
            for column, own in zip(tried.columns, shared(every, width - around), strict=True):
                column.width = own
            tried.min_width = min(width, _longest_word(console, tried.title, tried.caption))
            return tried
    return _row_by_row(table, console)


def shared(every: Sequence[tuple[int, int]], room: int) -> list[int]:
    """Widths of columns: each has its least, and what is left goes to those that want more.

    Args:
        every: (least, most) of each column; all `least` together are no more than `room`.
    """
    found = [least for least, _ in every]
    left = room - sum(found)
    wanting = sorted(range(len(every)), key=lambda at: every[at][1] - every[at][0])
    for turn, at in enumerate(wanting):
        share = max(left // (len(wanting) - turn), min(left, LITTLE))
        more = min(every[at][1] - every[at][0], share)
        found[at] += more
        left -= more
    return found


def _copied(table: Table) -> Table:
    made = copy(table)
    made.columns = [copy(column) for column in table.columns]
    return made


def _close(table: Table) -> Table:
    """Without room beside the lines."""
    made = _copied(table)
    made.pad_edge, made.padding = False, (0, 0, 0, 0)
    return made


def _closest(table: Table) -> Table:
    """Without lines between columns, one space in their place."""
    made = _close(table)
    made.box, made.show_edge = SIMPLE_HEAD, False
    return made


def _widths(column: Column, console: Console) -> tuple[int, int]:
    """Columns of its longest word, and of its longest line."""
    cells = [_text(cell, console) for cell in (column.header, *column.cells)]
    sizes = [Measurement.get(console, console.options.update(max_width=WIDEST), c) for c in cells]
    most = max((size.maximum for size in sizes), default=0)
    least = max((size.minimum for size in sizes), default=0)
    return (most if column.no_wrap else least), most


def _text(cell: RenderableType, console: Console) -> RenderableType:
    return console.render_str(cell) if isinstance(cell, str) else cell


def _longest_word(console: Console, *texts: RenderableType | None) -> int:
    options = console.options.update(max_width=WIDEST)
    shown = [_text(text, console) for text in texts if text]
    return max((Measurement.get(console, options, text).minimum for text in shown), default=0)


def _row_by_row(table: Table, console: Console) -> RenderableType:
    """Each row as lines: a heading and a value each, cells without words left out."""
    parts: list[RenderableType] = [_text(table.title, console)] if table.title else []
    heads = [" ".join(_plain(column.header, console).split()) for column in table.columns]
    parts += [] if table.rows else [Text(", ".join(heads))]
    rows = zip(*(column.cells for column in table.columns), strict=True)
    for row, cells in zip(table.rows, rows, strict=True):
        style = row.style or ""
        texts = [" ".join(_plain(cell, console).split("\n")) for cell in cells]
        told = [
            Text(f"{head}: {text}" if head else text, style=style)
            for head, text in zip(heads, texts, strict=True)
            if text.strip()
        ]
        parts += told[:1] + [Padding(text, (0, 0, 0, 2), expand=False) for text in told[1:]]
    return Group(*parts, *([_text(table.caption, console)] if table.caption else []))


def _plain(cell: RenderableType, console: Console) -> str:
    text = _text(cell, console)
    return text.plain if isinstance(text, Text) else str(text)
