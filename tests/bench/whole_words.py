"""Whether a printed table shows each of its words in one piece."""

from __future__ import annotations

import io
import re

from rich.table import Table

from splitlab.console import VisibleConsole

LINES = re.compile("[\u2500-\u257f]")


def printed(thing: object, width: int = 80) -> str:
    kept = io.StringIO()
    VisibleConsole(file=kept, width=width, highlight=False).print(thing)
    return kept.getvalue()


def parted(table: Table, width: int = 80) -> list[str]:
    """Words of cells, headings, title and caption that do not stand whole in what is printed."""
    text = LINES.sub(" ", printed(table, width))
    there = {word for token in text.split() for word in (token, token[:-1])}  # "heading:"
    cells = [cell for column in table.columns for cell in (column.header, *column.cells)]
    wanted = [getattr(cell, "plain", str(cell)) for cell in (*cells, table.title, table.caption)]
    return [word for one in wanted for word in one.split() if word not in {*there, "None"}]
