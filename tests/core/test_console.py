"""What is printed never steers the terminal, whoever wrote it."""

from __future__ import annotations

import io

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
