"""What is printed never steers the terminal, whoever wrote it."""

from __future__ import annotations

import io
from typing import Any

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from splitlab.console import VisibleConsole, guarded
from splitlab.errors import FOREIGN_AT_MOST, BadInput, foreign, visible

TITLE = "\x1b]0;owned\x07\x1b[2J"
STEERING = [*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u202e", "\udc9b"]


def printed(thing: object, **options: object) -> str:
    kept = io.StringIO()
    VisibleConsole(file=kept, width=60, highlight=False, **options).print(thing, markup=False)  # type: ignore[arg-type]
    return kept.getvalue()


def test_control_characters_are_written_out() -> None:
    assert visible(f"a{TITLE}b") == r"a\x1b]0;owned\x07\x1b[2Jb"
    assert visible("\x9b\x7f\u202e\udc80") == r"\x9b\x7f\u202e\udc80"
    assert visible("two\nlines\tof grün 木 🙂") == "two\nlines\tof grün 木 🙂"
    assert foreign("ok\nerror: forged\r\t") == r"ok\x0aerror: forged\x0d\x09"


def test_foreign_words_are_cut() -> None:
    assert foreign("x" * FOREIGN_AT_MOST) == "x" * FOREIGN_AT_MOST
    assert foreign("x" * (FOREIGN_AT_MOST + 1)) == "x" * FOREIGN_AT_MOST + "..."
    assert len(foreign("\x1b" * 10**6)) == FOREIGN_AT_MOST + 3


@pytest.mark.parametrize("character", STEERING, ids=ascii)
def test_no_character_steers(character: str) -> None:
    assert foreign(f"a{character}b").isprintable()
    if character not in "\n\t":
        assert visible(f"a{character}b").isprintable()
    shown = printed(f"a{character}b")
    assert all(part.isprintable() for part in shown.split("\n")), ascii(shown)


def test_tables_show_them_and_colours_stay() -> None:
    table = Table("image")
    table.add_row(TITLE)
    shown = printed(table)
    assert "\x1b" not in shown
    assert r"\x1b]0;owne" in shown
    coloured = printed(TITLE, force_terminal=True, color_system="standard", style="red")
    assert coloured.startswith("\x1b[31m\\x1b]0;owned")


def test_an_error_line_shows_them() -> None:
    app = typer.Typer()

    @app.command()
    @guarded
    def fail() -> None:
        raise BadInput(f"{TITLE} was given")

    done = CliRunner().invoke(app, [])
    assert done.exit_code == 2
    assert "\x1b" not in done.output
    assert r"error: \x1b]0;owned" in done.output


HEADINGS = ("split point", "accuracy [%]", *(f"a heading with words {n}" for n in range(9)))


def wide() -> Table:
    table = Table(*HEADINGS[:2], title="what")
    for heading in HEADINGS[2:]:
        table.add_column(heading, no_wrap=True)
    table.add_row("layer1.0.conv1", *(f"{0.1 * n:z.1f} {'x' * 30}" for n in range(10)))
    return table


def on_a_pipe(thing: object, **options: Any) -> str:
    pipe = io.StringIO()
    console = VisibleConsole(file=pipe, highlight=False, **options)
    console.print(thing)
    console.print("words " * 40)
    return pipe.getvalue()


def test_a_table_on_a_pipe_is_as_wide_as_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = on_a_pipe(wide())
    assert "\u2026" not in shown
    (heading,) = [line for line in shown.splitlines() if "split point" in line]
    assert all(name in heading for name in HEADINGS)
    (row,) = [line for line in shown.splitlines() if "layer1.0.conv1" in line]
    assert len(row) == len(heading) > 300
    assert max(len(line) for line in shown.splitlines() if "words words" in line) <= 100
    narrow = Table("a", "b")
    narrow.add_row("1", "2")
    assert max(map(len, on_a_pipe(narrow).splitlines()[:5])) == 9


@pytest.mark.parametrize(
    ("columns", "options"),
    [("90", {}), (None, {"width": 90}), ("90", {"force_terminal": True, "color_system": None})],
)
def test_a_width_that_is_given_or_a_terminals_is_kept(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, options: dict[str, Any]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, on_a_pipe(wide(), **options).splitlines())) <= 90


def test_the_width_of_a_table_is_that_tables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    console = VisibleConsole(file=io.StringIO())
    before = console.width
    console.print(wide())
    assert console.width == before
    with pytest.raises(ZeroDivisionError):
        console.print(_Fails("x"))
    assert console.width == before


class _Fails(Table):
    def __rich_console__(self, *_: Any) -> Any:
        raise ZeroDivisionError
