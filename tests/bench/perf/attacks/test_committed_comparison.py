"""The committed comparison of attacks: its tables and its text are what its records give."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from splitlab.storage import read_json

RESULTS = Path(__file__).resolve().parents[4] / "results"
COMMITTED = RESULTS / "perf" / "attacks"
OURS = {"**ours**": False, "**ours, queries alone**": True}


@pytest.fixture(scope="module")
def comparisons() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(COMMITTED / "summary.json")["comparisons"]
    return found


def test_its_records_give_its_tables(tmp_path: Path) -> None:
    again = shutil.copytree(COMMITTED, tmp_path / "again")
    written = ("summary.json", "table.csv", "readings.csv")
    for name in written:
        (again / name).unlink()
    done = CliRunner().invoke(app, ["perf", "attacks", "--out", str(again)])
    assert done.exit_code == 0, done.output
    for name in written:
        assert (again / name).read_text() == (COMMITTED / name).read_text(), name


def test_the_text_has_its_figures(comparisons: list[dict[str, Any]]) -> None:
    section = (RESULTS / "README.md").read_text().split("## perf/attacks\n")[1].split("\n## ")[0]
    split, shown = "", 0
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"layer\d\.0", cells[0]):
            split = cells[0]
        if len(cells) != 4 or "dB" not in cells[1]:
            continue
        for budget, cell in zip((30.0, 60.0, 180.0), cells[1:], strict=True):
            alone = OURS.get(cells[0], False)
            found = [
                one
                for one in comparisons
                if (one["split"], one["budget_seconds"]) == (split, budget)
                and one["queries_alone"] is alone
                and (cells[0] in OURS or one["peer"] == cells[0])
            ]
            who = "ours" if cells[0] in OURS else "peer"
            told = f"{found[0][f'psnr_{who}']:.1f} dB / {found[0][f'ssim_{who}']:.3f}"
            if who == "ours":
                told += f" (`{found[0]['ours']}`, {found[0]['ours_seconds']:.0f} s)"
            assert cell == told, (split, budget, cells[0])
            shown += 1
    assert shown == 3 * 3 * 8


def test_what_it_says_of_all_comparisons(comparisons: list[dict[str, Any]]) -> None:
    general = [one for one in comparisons if not one["queries_alone"]]
    alone = [one for one in comparisons if one["queries_alone"]]
    well = {"stronger", "at least as strong"}
    assert len(general) == 54
    assert len(alone) == 27
    assert all({one["psnr_verdict"], one["ssim_verdict"]} <= well for one in general)
    lost = [(one["split"], one["budget_seconds"]) for one in alone if one["weaker"]]
    unsure = [(one["split"], one["budget_seconds"]) for one in alone if one["not_told_apart"]]
    assert lost == unsure == [("layer3.0", 30.0)]
    assert all(one["pairs"] == 48 for one in comparisons)
