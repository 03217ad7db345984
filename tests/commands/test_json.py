"""`--json`: one document on standard output with what the table says, its keys in the docs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from every import ROOT, app, every
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from bench.options import show_perf
from bench.perf.soak.account import Account
from bench.perf.soak.cli import _lines
from bench.reproduce.frame.request import Shown
from splitlab.answers import AsJson, answer, plain_data
from splitlab.console import CommandLine, console, errors, guarded
from splitlab.errors import SplitLabError
from splitlab.estimating import Forecast
from splitlab.storage import write_json

PAGE = (ROOT / "docs" / "commands.md").read_text()
ROW = re.compile(r"^\| (`[a-z].*?) \| (.*) \|$", re.M)


def documented() -> dict[str, tuple[str, ...]]:
    """Command -> keys of its document, as the page has them."""
    found: dict[str, tuple[str, ...]] = {}
    for commands, keys in ROW.findall(PAGE.split("## Output for programs")[1]):
        for command in re.findall(r"`([^`]+)`", commands):
            found[command] = tuple(re.findall(r"`(\w+)`", keys.split("with `--fitted`")[0]))
    return found


KEYS = documented()
DRY = next(line for line in PAGE.splitlines() if line.startswith("| any of these with"))
DRY_KEYS = set(re.findall(r"`(\w+)`", DRY))
ROW_KEYS = set(
    re.findall(r"`(\w+)`", PAGE.split("A row of a sweep has")[1].split(". `leakage`")[0])
)


def run(role: str, *words: Any) -> Any:
    """The one document on standard output."""
    done = CliRunner().invoke(app(role), [*map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_every_command_that_prints_figures_has_it_and_stands_in_the_docs() -> None:
    mute = {"tap", "serve", "split", "export-triton", "make-certificates"}  # lines of their own
    have = set()
    for role, words, command in every():
        if getattr(command, "commands", None) is not None:
            continue
        flags = {name for one in command.params for name in one.opts}
        assert ("--json" in flags) == (role == "bench" or words[-1] not in mute), (role, words)
        if "--json" in flags:
            have.add(f"{role} {words[0]}")
    assert have == set(KEYS)


def test_splits() -> None:
    found = run("bench", "splits", "tiny_cnn")
    assert set(KEYS["bench splits"]) == set(found[0])
    shown = CliRunner().invoke(app("bench"), ["splits", "tiny_cnn"]).stdout
    for point in found:
        assert point["name"] in shown
        assert f"{point['head_params']:,}" in shown


@pytest.mark.parametrize("run_folder", ["photo-patches-wires", "imagenet-samples-mobilenet_v2"])
def test_report(tmp_path: Path, run_folder: str) -> None:
    """Of committed records: what the table on a terminal shows is in the document."""
    from bench.sweep.table import rich_table
    from splitlab.record import RecordStore

    for part in ("records", "latency"):
        if (ROOT / "results" / run_folder / part).is_dir():
            shutil.copytree(ROOT / "results" / run_folder / part, tmp_path / part)
    found = run("bench", "report", tmp_path)
    assert tuple(found) == KEYS["bench report"]
    records = RecordStore(tmp_path).all()
    assert len(found["rows"]) == len(records)
    assert set(found["rows"][0]) - {"wire", "seed", "measurement", "place"} == ROW_KEYS
    table = rich_table(records, None, "")
    there = {word for column in table.columns for cell in column.cells for word in cell.split()}
    for row in found["rows"]:
        assert row["split"] in there
        assert f"{row['leakage']['psnr']['mean']:.1f}" in there
        assert f"{row['accuracy']:.1f}" in there
        assert f"{row['bytes_up'] / 1024:.1f}" in there
        for link in row["links"].values():
            assert f"{link['ms']:.0f}" in there
    front = {row["split"] for row in found["rows"] if row["pareto_front"]}
    marked = [cell == "yes" for cell in table.columns[-1].cells]
    names = list(table.columns[0].cells)
    assert front == {name for name, mark in zip(names, marked, strict=True) if mark}
    assert Path(found["report"]).exists()


def test_an_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its summary, whatever the experiment, and nothing of what it says beside it."""
    import bench.estimate.requests as estimate
    from bench.reproduce import cli

    def small(request: Any) -> Shown:
        console.print("a note of its own")
        write_json(request.out / "summary.json", {"rows": [{"psnr": 1.5}]})
        return Shown([Table("x"), "a claim"], request.out / "report.html")

    monkeypatch.setattr(cli, "EXPERIMENTS", {"small": "small:small"})
    monkeypatch.setattr("splitlab.contracts.registry.load_attribute", lambda _: small)
    told = Forecast.of_stages(3, {"attack": 2.0}, 2**30)
    monkeypatch.setattr(estimate, "reproduce_estimate", lambda *_: told)
    words = ("reproduce", "small", "--out", tmp_path)
    found = run("bench", *words)
    assert found == {"rows": [{"psnr": 1.5}], "report": str(tmp_path / "report.html")}
    dry = run("bench", *words, "--dry-run")
    assert set(dry) == DRY_KEYS
    assert (dry["points"], dry["seconds"]) == (3, 2.0)
    assert dry["stages"] == [{"what": "attack", "seconds": 2.0}]


def test_a_speed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    measured = {"ratio": 0.5, "limit": 1.0, "ok": False, "p50": float("nan")}
    with pytest.raises(SplitLabError, match="below the limit"):
        show_perf(measured, tmp_path / "out.json", as_json=True)
    assert json.loads(capsys.readouterr().out) == {**measured, "p50": None}
    assert "environment" in json.loads((tmp_path / "out.json").read_text())
    show_perf({**measured, "ok": True}, None)
    assert capsys.readouterr().out.splitlines()[0] == "ratio: 0.50"


def test_a_soak(tmp_path: Path) -> None:
    """Keys of its account stand in the docs; a reader is shown the same."""
    told = Account(least=0.9).as_dict()
    assert tuple(told) == KEYS["bench soak"]
    (tmp_path / "log").write_text("its last words")
    lines = _lines({**told, "complaints": ["it is lost"]}, tmp_path / "log")
    assert lines[0].startswith("0 requests sent, 0 answered, 0 wrong")
    assert "FAILED: it is lost" in lines
    assert "its last words" in lines[-1]


def test_what_is_printed_beside_it_goes_to_standard_error() -> None:
    lab = CommandLine()

    @lab.command()
    @guarded
    def work(fail: bool = False, as_json: AsJson = False) -> None:
        console.print("on the way")
        if fail:
            raise SplitLabError("it failed")
        answer(as_json, {"figure": 1.5, "grün": "\udcff"}, Table("figure"), "told")

    @lab.command()
    def other() -> None:
        console.print("other")

    assert callable(other)
    done = CliRunner().invoke(lab, ["work", "--json"])
    assert json.loads(done.stdout) == {"figure": 1.5, "grün": "\udcff"}
    assert done.stdout.isascii()
    assert "on the way" in done.stderr
    plain = CliRunner().invoke(lab, ["work"])
    assert "on the way" in plain.stdout
    assert "told" in plain.stdout
    assert "{" not in plain.stdout
    failed = CliRunner().invoke(lab, ["work", "--json", "--fail"])
    assert (failed.exit_code, failed.stdout) == (2, "")
    assert "error: it failed" in failed.stderr
    assert "other" in CliRunner().invoke(lab, ["other"]).stdout
    assert not console.stderr
    assert errors.stderr


def test_lines_are_whole_in_a_pipe_and_folded_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = "a warning of words " * 9
    answer(False, {}, Text(sentence), sentence)
    assert capsys.readouterr().out.splitlines() == [sentence, sentence]
    monkeypatch.setattr(console, "_force_terminal", True)
    monkeypatch.setattr(console, "_width", 80)
    answer(False, {}, Text(sentence))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_data_that_json_has_no_form_for() -> None:
    import numpy
    import torch

    told = {
        "path": Path("a"),
        "set": {2, 1},
        "inf": float("inf"),
        "one": numpy.float32(0.5),
        "two": torch.tensor(2),
        "stage": Forecast.of_stages(1, {}, 2),
        3: (None, True),
    }
    found = plain_data(told)
    assert found["stage"]["memory_bytes"] == 2
    del found["stage"]
    assert found == {"path": "a", "set": [1, 2], "inf": None, "one": 0.5, "two": 2} | {
        "3": [None, True]
    }
    with pytest.raises(TypeError, match="SimpleNamespace"):
        plain_data(SimpleNamespace())
