"""A table for a terminal parts no word, however wide it would be."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.table import Table
from whole_words import parted, printed

from splitlab.console import VisibleConsole
from splitlab.tables import shared

LETTERS = st.characters(categories=("Lu", "Ll", "Nd")).filter(lambda one: cell_len(one) == 1)
"""Letters that take two columns are cut by rich itself where a line ends with them."""
WORDS = st.text(LETTERS, min_size=1, max_size=14)
CELLS = st.lists(WORDS, min_size=1, max_size=4).map(" ".join)


def made(rows, *, title="", caption="", no_wrap=()) -> Table:
    heads, *others = rows
    table = Table(title=title or None, caption=caption or None)
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number in no_wrap)
    for row in others:
        table.add_row(*row)
    return table


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda columns: st.lists(
            st.lists(CELLS, min_size=columns, max_size=columns), min_size=1, max_size=4
        )
    ),
    CELLS,
)
def test_no_word_is_parted_in_80_columns(rows, title) -> None:
    table = made(rows, title=title, caption=title)
    assert parted(table) == []


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_table_of_long_names(width: int) -> None:
    name = "stages.0.blocks.10.mlp.fc1"
    row = [name, "gaussian:level=0.1", "12345678", "0.5  0.75", "87654321", "1,234,567"]
    table = made([[f"heading{n} x" for n in range(6)], row, row], title=f"module:{name}")
    assert parted(table, width) == []
    assert max(map(len, printed(table, width).splitlines())) <= width


def test_there_are_lines_where_there_is_room_and_rows_of_lines_where_there_is_none() -> None:
    heads = [f"column{n}" for n in range(9)]
    near, far = ["x" * 6] * 9, ["y" * 12] * 9
    assert "┃" in printed(made([["a", "b"], ["1", "2"]]))
    close = printed(made([heads[:8], near[:8]]))
    assert "│xxxxxx" in close
    assert "┃" not in printed(made([heads, ["x" * 8] * 9]))
    text = printed(made([heads, far, near], title="what", caption="of what"))
    assert text.splitlines()[:3] == ["what", f"column0: {far[0]}", f"  column1: {far[0]}"]
    assert text.rstrip().endswith("of what")


def test_a_table_is_not_changed_by_being_shown() -> None:
    table = made([["a b c d", "e"], ["1 " * 60, "2"]])
    before = printed(table, 200)
    printed(table, 40)
    assert printed(table, 200) == before


def test_columns_get_what_is_left_by_what_they_want() -> None:
    assert shared([(5, 5), (5, 8), (5, 50)], 30) == [5, 8, 17]
    assert shared([(5, 50), (5, 50)], 20) == [10, 10]
    assert shared([(5, 5)], 5) == [5]
    assert shared([], 5) == []


def test_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = VisibleConsole(file=stream, width=40)
    console.print(made([["a heading of words"] * 4, ["word"] * 4]))
    stream.flush()
    shown = stream.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert shown.count("word") >= 4
    assert max(map(len, shown.splitlines())) <= 40
