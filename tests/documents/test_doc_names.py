"""What pages name is there: folders, files, methods; and what is there is named."""

from __future__ import annotations

import importlib
import re

import pytest
import typer
from handbook import ROOT, blocks, prose, table_under

from bench.perf.cli import perf
from bench.point.sights.generated import Generated
from bench.reproduce.frame.sights import sight_of_all
from bench.reproduce.registry import EXPERIMENTS
from bench.sweep import recommend
from cloud_server.cli import app as cloud
from cloud_server.engines.choose import NAMES
from splitlab.contracts.registry import load_attribute

PATH = re.compile(r"`([\w.-]+/[\w./-]*)`( \(new\))?")
TREE_LINE = re.compile(r"( {2})?((?:\w+/ ?)+)")
ROLES = ("splitlab", "defenses", "adversary", "edge_client", "cloud_server", "bench")


def gone(text: str) -> list[str]:
    """Paths between backticks that are not there; of `ROOM/NAME.py` the room has to be."""
    found = []
    for named, new in PATH.findall(prose(text)):
        path = ROOT / named
        if new or not (ROOT / named.split("/")[0]).is_dir():
            continue
        while re.fullmatch(r"[A-Z]+(\.py)?", path.name):
            path = path.parent
        if not path.exists():
            found.append(named)
    return found


def test_files_and_folders_that_a_contributor_is_sent_to_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert len(PATH.findall(text)) > 20
    assert gone(text) == []


def rooms_named() -> set[str]:
    """Folders in README's tree, from the root."""
    found: set[str] = set()
    above = ""
    for block in blocks((ROOT / "README.md").read_text()):
        for line in block.lines if block.lines[0].startswith("splitlab/ ") else ():
            named = TREE_LINE.match(line)
            assert named, f"a line of the tree that names no folder: {line!r}"
            folders = named[2].split()
            above = above if named[1] else folders[0]
            found |= {above + folder if named[1] else folder for folder in folders}
    return found


def test_the_tree_names_every_package_and_nothing_else() -> None:
    """The rooms at the root, and the packages one below."""
    packages = {
        f"{path.parent.relative_to(ROOT)}/"
        for role in ROLES
        for pattern in ("__init__.py", "*/__init__.py")
        for path in (ROOT / role).glob(pattern)
    }
    named = rooms_named()
    assert packages - named == set(), "folders that README's tree does not name"
    assert [folder for folder in named if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize(
    ("page", "registry"),
    [
        ("docs/attacks.md", "adversary.registry:ATTACKS"),
        ("docs/attacks.md", "adversary.registry:OF_EXPERIMENTS"),
        ("docs/defences.md", "defenses:DEFENSES"),
        ("docs/reproduce.md", "bench.reproduce.registry:EXPERIMENTS"),
    ],
)
def test_a_page_names_all_that_can_be_chosen(page: str, registry: str) -> None:
    module, _, name = registry.partition(":")
    there = getattr(importlib.import_module(module), name)
    text = (ROOT / page).read_text()
    ours = getattr(there, "ours", there)  # what other packages bring has pages of its own
    assert [one for one in ours if f"`{one}`" not in text] == []


def test_the_page_of_speed_runs_every_measurement() -> None:
    there = typer.main.get_command(perf).commands
    text = (ROOT / "docs/speed.md").read_text()
    assert [
        one for one in there if f"\nbench perf {one}" not in text or f"`{one}`" not in text
    ] == []


def test_the_page_of_defences_names_every_field_with_its_default() -> None:
    defenses = importlib.import_module("defenses").DEFENSES
    text = (ROOT / "docs/defences.md").read_text()
    for name in defenses.ours:
        rows = [line for line in text.splitlines() if line.startswith("|") and f"`{name}`" in line]
        for field, one in defenses.load(name).model_fields.items():
            assert any(f"`{field}={one.default}`" in row for row in rows), f"{name}: {field}"


def test_attacks_and_threat_models_name_the_same() -> None:
    """README's table of threat models has every attack but the floor."""
    there = importlib.import_module("adversary.registry")
    attacks = (*there.ATTACKS.ours, *there.OF_EXPERIMENTS.ours)
    text = (ROOT / "README.md").read_text().split("## Threat models")[1].split("\n## ")[0]
    assert [one for one in attacks if f"`{one}`" not in text] == ["mean-image"]


def test_limits_of_a_server_stand_with_their_defaults() -> None:
    """What is computed when the server starts has its rule in words."""
    serve = typer.main.get_command(cloud).commands["serve"]
    rows = {row[0].strip("`"): row[1] for row in table_under(operate(), "## What a peer may hold")}
    limits = {
        flag: one.default
        for one in serve.params
        if (flag := one.opts[0]).startswith("--max") or flag == "--patience"
    }
    assert rows.keys() == limits.keys()
    for flag, default in limits.items():
        assert default is None or rows[flag].split()[0] == f"{default:g}", flag
    grace = next(one.default for one in serve.params if one.opts[0] == "--grace")
    assert f"`--grace` seconds at most ({grace:g})" in operate()


def operate() -> str:
    return (ROOT / "docs/operate.md").read_text()


def test_the_rules_of_the_recommendation_stand_with_their_numbers() -> None:
    text = " ".join((ROOT / "docs/cut.md").read_text().split())
    left = 100 * (1 - recommend.CLIENT_SHARE)
    assert (
        f"accuracy within {recommend.ACCURACY_LOSS:g} point, leaves the server at least {left:g} %"
        in text
    )
    assert recommend.LINK_FACTOR == 2
    assert "more than twice as long as the fastest" in text


def test_engines_stand_in_the_page_of_deploying() -> None:
    rows = table_under((ROOT / "docs/deploy.md").read_text(), "## Engines")
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row[0].replace("--", ""))}
    assert named == set(NAMES)


def test_the_page_of_experiments_names_those_that_cross_no_wire() -> None:
    """An experiment may be a generator's, which is inverted in this very process."""
    sentence = (ROOT / "docs/reproduce.md").read_text().partition("Every row of all but")[2]
    excepted = re.findall("`([a-z0-9-]+)`", sentence.partition(" real wire")[0])
    apart = []
    for name, place in EXPERIMENTS.items():
        experiment = load_attribute(place).build("quick")
        if issubclass(sight_of_all(experiment), Generated):
            apart.append(name)
    assert excepted == apart
