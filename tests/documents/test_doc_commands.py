"""Every command in README, CONTRIBUTING, docs and examples is one that the lab takes."""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from handbook import ROLES, ROOT, SHELL, alone, commands, mentioned, pages, simple
from made import example, on_path

from adversary.cli_options import chosen, with_preset
from adversary.registry import ATTACKS
from adversary.synthesis.settings import fitting
from bench.options import attack_options, grid
from bench.reproduce.registry import EXPERIMENTS
from defenses import DEFENSES, parse
from splitlab.contracts import ArchSpec
from splitlab.contracts.link import parse_link
from splitlab.models import MODELS, build
from splitlab.named import named_fields
from splitlab.split import split_points

COMMANDS = [
    pytest.param(page, words, id=f"{page.relative_to(ROOT)}: {shlex.join(words)}"[:100])
    for page in pages()
    for words in commands(page.read_text())
]
MENTIONED = [
    pytest.param(words, id=f"{page.relative_to(ROOT)}: {shlex.join(words)}"[:100])
    for page in pages()
    for words in mentioned(page.read_text())
]


COMPLETION = ("--install-completion", "--show-completion")
"""Flags that act on the shell of whoever gives them: they are looked for and not run."""


@cache
def whole(role: str) -> Any:
    """The command line of a role."""
    return typer.main.get_command(importlib.import_module(ROLES[role]).app)


def parsed(words: list[str]) -> dict[str, Any]:
    """Option or argument -> value, as a role reads these words; its commands do nothing else.

    Raises:
        Exception: it does not take them; says why.
    """
    found: dict[str, Any] = {}

    def listen(command: Any, path: tuple[str, ...]) -> None:
        flags = {one.name: one.opts[0] for one in command.params}
        command.callback = lambda **options: found.update(
            {flags.get(name, name): value for name, value in options.items()},
            command=" ".join(path),
        )
        for name, below in getattr(command, "commands", {}).items():
            listen(below, (*path, name))

    listen(whole(words[0]), ())
    refused = whole(words[0]).main(words[1:], prog_name=words[0], standalone_mode=False)
    assert not refused, f"{shlex.join(words)}: exit code {refused}"
    return found


@pytest.fixture(autouse=True)
def _aside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files of a command are looked for in an empty folder; the example's package is installed."""
    monkeypatch.chdir(tmp_path)
    on_path(monkeypatch, *example("own_attack", tmp_path / "site"))


def given(options: dict[str, Any], name: str) -> list[str]:
    """The texts of an option; [] where it is a switch or was not given."""
    value = options.get(name)
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list) else []


@cache
def places(model: str) -> set[str]:
    """Where one of the lab's own networks can be cut."""
    arch = ArchSpec.named(model)
    return {point.name for point in split_points(build(arch, seed=0), arch.input.shape)}


def check_values(options: dict[str, Any]) -> None:
    """Names that stand in options exist: attacks and their settings, defences, links, cuts."""
    for text in given(options, "--defense"):
        parse(text)
    for text in given(options, "--link"):
        parse_link(text)
    attacks, older = given(options, "--attack"), given(options, "--set")
    for text in attacks:
        ATTACKS.load(named_fields(text)[0])
    match options["command"]:
        case "sweep-split-points":
            for name, fields in attack_options(older, attacks).items():
                ATTACKS.load(name).configured(fields)
        case "attack":
            name, fields = chosen(options["--attack"], older)
            ATTACKS.load(name).configured(fields)
        case "synthesise":
            fitting(with_preset(options["--preset"], older), 32)
        case "reproduce":
            assert options["name"] in EXPERIMENTS
        case "search":
            assert options["name"] in EXPERIMENTS
            assert all(grid([text]) for text in given(options, "--try"))
        case "train" if options["--model"] in MODELS:
            for name in given(options, "--split") + given(options, "--tail-start"):
                assert name in places(options["--model"])


@pytest.mark.parametrize(("page", "words"), COMMANDS)
def test_a_command_is_taken_with_its_options(page: Path, words: list[str]) -> None:
    match words:
        case [role, flag] if role in ROLES and flag in COMPLETION:
            assert flag in flags_of(whole(role))
        case [role, *_] if role in ROLES:
            if options := parsed(words):
                check_values(options)
            else:
                assert "--help" in words
        case ["make", target, *_]:
            assert target in targets()
        case ["pip", "install", *rest]:
            for extra in re.findall(r"\[([\w,-]+)\]", " ".join(rest)):
                assert set(extra.split(",")) <= set(extras())
        case ["python", "-c", code]:
            compile(code, str(page), "exec")
        case ["python", "-m", module, *_]:
            assert importlib.util.find_spec(module)
        case ["python", file, *_]:
            assert (ROOT / file).is_file() or (page.parent / file).is_file()
        case [other, *_]:
            assert other in SHELL, f"nothing here tries `{shlex.join(words)}`"


@pytest.mark.parametrize("words", MENTIONED)
def test_a_command_in_a_sentence_exists_with_its_flags(words: list[str]) -> None:
    """It may leave out what has to be given; what it names is there."""
    if words[0] == "make":
        assert words[1] in targets()
        return
    command, left = whole(words[0]), words[1:]
    flags = {"--help", *flags_of(command)}
    while left and (below := getattr(command, "commands", {})):
        name = next((word for word in left if word in below), None)
        plain = [word for word in left if not word.startswith("-")]
        if name is None:
            name = getattr(command, "unless_told", None)
            assert name or all(word.isupper() for word in plain), f"{plain}: no command among these"
            left = left if name else []
        else:
            left = left[left.index(name) + 1 :]
        command = below.get(name, command)
        flags |= flags_of(command)
    unknown = {word for word in words if word.startswith("--")} - flags
    assert not unknown, f"no flag of {words[0]}: {unknown}"


def every_flag(command: Any) -> set[str]:
    """Of a command and of those below it."""
    below = getattr(command, "commands", {}).values()
    return flags_of(command).union(*(every_flag(one) for one in below))


OF_OTHERS = {"--again", "--build-arg"}
"""Flags that sentences name of tests/mutants/run.py and of Docker."""


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_flag_in_a_sentence_is_one_of_some_command(page: Path) -> None:
    known = OF_OTHERS.union(*(every_flag(whole(role)) for role in ROLES))
    assert [flag for flag in alone(page.read_text()) if flag.partition("=")[0] not in known] == []


SETTING = re.compile(r"`(?:--set |--attack )?([a-z-]+)[.:](\w+)=(\w+)`")


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_setting_in_a_sentence_is_one_of_its_attack(page: Path) -> None:
    """But for a letter that stands for any value."""
    for attack, field, value in SETTING.findall(page.read_text()):
        if attack not in ATTACKS:
            assert attack in (*DEFENSES, *MODELS), attack
            continue
        known = ATTACKS.load(attack)
        assert field in known.model_fields, f"{attack}.{field}"
        known.configured({field: value})


def flags_of(command: Any) -> set[str]:
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))


def extras() -> dict[str, list[str]]:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return found["project"]["optional-dependencies"]


def test_pages_show_every_command_of_every_role() -> None:
    """A command that no page shows is found by nobody."""
    shown = {
        (words[0], word)
        for page in pages()
        for words in (*commands(page.read_text()), *mentioned(page.read_text()))
        for word in words[1:]
    }
    for role in ROLES:
        for name, command in whole(role).commands.items():
            assert (role, name) in shown, f"{role} {name}"
            assert all((role, below) in shown for below in getattr(command, "commands", {}))


def test_the_readme_has_the_two_commands() -> None:
    assert {("make", "sweep"), ("make", "test")} <= {
        tuple(words) for words in commands((ROOT / "README.md").read_text())
    }


@pytest.mark.parametrize(
    "line",
    [
        "bench train --split layer2.0",  # --out is missing
        "bench train --split layer9.9 --out x",  # no such place
        "bench sweep-split-points --out x --defence none",
        "bench sweep-split-points --set decoder.epoch=5",
        "bench sweep-split-points --attack decoder:epoch=5",
        "bench search dci-table2 block-5/rmle --try tv",
        "adversary synthesise --knows grant --preset dci:step=5 --out x",
        "bench reproduce dci-table9",
        "cloud-server half --max-streams 0",
        "edge-client half --server A:1 --link 6g infer photo.jpg",
        "edge-client half --server A:1 classify photo.jpg",
        "adversary attack capture --knows grant --attack decode --out x",
        "make tests",
        "pip install '.[openvinos]'",
        "python docs/recompile.py RUN",
        "bensh splits resnet20",
    ],
)
def test_what_the_lab_does_not_take_is_seen(line: str) -> None:
    [words] = simple(line)
    with pytest.raises((Exception, SystemExit)):
        test_a_command_is_taken_with_its_options(ROOT / "README.md", words)


@pytest.mark.parametrize(
    "line", ["bench perfs", "bench train --outs", "cloud-server --listens", "make tests"]
)
def test_what_a_sentence_has_wrong_is_seen(line: str) -> None:
    with pytest.raises(AssertionError):
        test_a_command_in_a_sentence_exists_with_its_flags(line.split())
