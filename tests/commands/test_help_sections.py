"""Help in headed sections of plain text, in 80 columns, on a terminal with ASCII alone too."""

from __future__ import annotations

import re
import tomllib
from functools import cache

import pytest
from every import app, every, options
from typer.testing import CliRunner

from adversary.registry import ATTACKS
from adversary.synthesis.settings import AUTO, LAB, PRESETS
from splitlab.help_sections import RUN, SECTIONS

LONG = 8
"""Options from which on a command has sections."""
COMMANDS = [pytest.param(*one, id=" ".join((one[0], *one[1]))) for one in every()]
LORE = re.compile(r"\b(batch norms? of|inverse block|cycle_to|BatchNorm|paper's idea)\b")


@cache
def shown(role: str, words: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app(role), [*words, "--help"], env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    return done.output


def sections(text: str) -> dict[str, list[str]]:
    """Heading -> names of what stands below it."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if heading := re.fullmatch(r"([A-Z]\w+):", line):
            found[heading[1]] = []
        elif found and (name := re.match(r"  (-{2}[\w-]+|[\w-]+)", line)):
            next(reversed(found.values())).append(name[1])
    return found


@pytest.mark.parametrize(("role", "words", "command"), COMMANDS)
def test_help_is_plain_and_fits(role, words, command) -> None:
    text = shown(role, words)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<list\[| range>", text), "a type of Python or of the parser"
    told = sections(text)
    names = [name for heading, own in told.items() if heading != "Commands" for name in own]
    wanted = [one.opts[0] for one in options(command) if not one.hidden]
    assert sorted(name for name in names if name.startswith("--")) == sorted([*wanted, "--help"])
    for one in options(command):
        if one.rich_help_panel:
            assert one.opts[0] in told[one.rich_help_panel]


@pytest.mark.parametrize(("role", "words", "command"), COMMANDS)
def test_no_word_of_an_option_is_parted(role, words, command) -> None:
    there = set(shown(role, words).split())
    for one in command.params:
        for word in (one.help or "").split():
            assert word in there or len(word) > 48, (one.name, word)


@pytest.mark.parametrize(
    ("role", "words", "command"),
    [one for one in COMMANDS if len(options(one.values[2])) >= LONG],
)
def test_a_long_command_has_sections(role, words, command) -> None:
    """Each option says its own; they stand in one order everywhere, `Run` last."""
    bare = [one.opts[0] for one in options(command) if not one.rich_help_panel]
    assert set(bare) <= {"--install-completion", "--show-completion"}
    headings = [one for one in sections(shown(role, words)) if one in SECTIONS]
    assert headings == [one for one in SECTIONS if one in headings]
    assert len(headings) >= 2
    assert headings[-1] == RUN


def test_there_are_long_commands() -> None:
    long = {one.id for one in COMMANDS if len(options(one.values[2])) >= LONG}
    assert long >= {
        "bench sweep-split-points",
        "bench train",
        "bench reproduce",
        "bench search",
        "bench grant",
        "bench soak",
        "edge-client",
        "edge-client evaluate",
        "cloud-server serve",
        "adversary attack",
        "adversary synthesise",
    }


@pytest.mark.parametrize("command", [pytest.param(one.values[2], id=one.id) for one in COMMANDS])
def test_no_method_s_lore_in_a_command_s_help(command) -> None:
    """What one method does with an option stands in docs/; help names methods as choices alone."""
    texts = [command.help or "", *(one.help or "" for one in command.params)]
    for text in texts:
        assert not LORE.search(text), text
        named = [name for name in ATTACKS if re.search(rf"\b{re.escape(name)}\b(?![:=])", text)]
        listed = {"decoder", "rmle", "dci", "psim"} <= set(named)
        assert listed or text.startswith("One of: ") or len(named) <= 2, text


def test_presets_in_help_are_those_there_are() -> None:
    text = " ".join(shown("adversary", ("synthesise",)).split())
    for name in (AUTO, LAB, *PRESETS):
        assert re.search(rf"\b{name}\b", text)


def test_the_commands_are_those_of_the_package() -> None:
    from every import ROLES, ROOT

    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {name: place.removesuffix(":app") for name, place in scripts.items()} == ROLES
