"""`bench report` of an experiment's folder: its own table and page, from records of any version."""

import csv
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.reproduce.frame.again import shown_again
from splitlab.storage import read_json, write_json

RESULTS = Path(__file__).parents[3] / "results"
SAME = (
    *("dci-figure9", "dci-figure4", "dci-ablations"),
    *("ensembler-ablations", "ensembler-figure2", "ensembler-figure3"),
    *("ensembler-attackers", "ensembler-table1", "dci-table2"),
)
"""Of the others what the rows are called, or which there are, has changed since."""
LATER = {
    "cifar10-resnet20-dci-table2": [
        f"layer2.0/{name}" for name in ("rmle-spectral", "rmle-dci", "ceiling-rmle")
    ],
}
"""Rows that came after the folder was measured."""
EXPERIMENTS = tuple(sorted({*SAME, *LATER, "dci-figure12"}))


def copied(name, folder, *kept):
    run = folder / name
    shutil.copytree(RESULTS / name / "records", run / "records")
    for file in kept:
        shutil.copy(RESULTS / name / file, run / file)
    return run


def numbers(path):
    """What each row measured, by its key."""
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "label"} for row in csv.DictReader(file)]


def report(run):
    done = CliRunner().invoke(app, ["report", str(run)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_committed_experiment_is_shown_with_the_numbers_it_had(name, tmp_path):
    run = copied(name, tmp_path, "summary.json", "table.csv")
    shown_again(run)
    was, now = (read_json(place / "summary.json") for place in (RESULTS / name, run))
    if name in SAME:
        assert (run / "table.csv").read_text() == (RESULTS / name / "table.csv").read_text()
        assert [c["verdict"] for c in now["claims"]] == [c["verdict"] for c in was["claims"]]
    measured = [{row["key"]: row["measured"] for row in one["rows"]} for one in (was, now)]
    both = measured[0].keys() & measured[1].keys()
    assert len(both) >= 0.8 * len(measured[0])
    assert all(measured[1][key] == measured[0][key] for key in both)
    assert now["seconds"] == was["seconds"]
    assert not any(row["skipped"] for row in now["rows"] if row["key"] in measured[0])
    if name in LATER:
        assert set(measured[0]) <= set(measured[1])
        skipped = {row["key"]: row["skipped"] for row in now["rows"] if row["skipped"]}
        assert skipped == dict.fromkeys(LATER[name], "it was not measured")


def test_the_records_alone_say_which_network_and_which_depth(tmp_path):
    run = copied("cifar10-resnet20-dci-table2", tmp_path)
    text = report(run)
    assert "layer2.0: DCI" in text
    summary = read_json(run / "summary.json")
    assert summary["setup"]["model"] == "resnet20"
    assert summary["setup"]["dataset"] == "imagefolder"
    later = LATER["cifar10-resnet20-dci-table2"]
    assert all((row["skipped"] is None) == (row["key"] not in later) for row in summary["rows"])
    assert (run / "report.html").exists()


def test_a_record_of_other_settings_is_shown_and_one_line_says_so(tmp_path):
    run = copied("dci-figure9", tmp_path, "summary.json")
    shown_again(run)
    assert not any("other settings" in doubt for doubt in read_json(run / "summary.json")["doubts"])
    path = min((run / "records").glob("*.json"))
    record = read_json(path)
    record["config"]["recipe"]["epochs"] += 1
    write_json(path, record)
    shown_again(run)
    summary = read_json(run / "summary.json")
    (told,) = [doubt for doubt in summary["doubts"] if "other settings" in doubt]
    assert told.startswith("1 records were measured with other settings than dci-figure9 has now")
    assert "(victim.epochs)" in told
    assert "bench reproduce" in told
    later = LATER["cifar10-resnet20-dci-table2"]
    assert all((row["skipped"] is None) == (row["key"] not in later) for row in summary["rows"])


def test_a_row_that_is_no_more_and_one_that_was_not_measured_are_told(tmp_path):
    run = copied("dci-figure9", tmp_path, "summary.json")
    path = min((run / "records").glob("*.json"))
    record = read_json(path)
    gone = record["config"]["measurement"]
    record["config"]["measurement"] = "of-yesterday"
    write_json(path, record)
    shown_again(run)
    summary = read_json(run / "summary.json")
    assert any("no row any more" in d and "of-yesterday" in d for d in summary["doubts"])
    assert any(
        row["skipped"] == "it was not measured" for row in summary["rows"] if row["key"] == gone
    )


def test_records_of_two_experiments_in_one_folder_are_no_table(tmp_path):
    run = copied("dci-figure9", tmp_path)
    other = min((RESULTS / "dci-figure12" / "records").glob("*.json"))
    shutil.copy(other, run / "records" / other.name)
    done = CliRunner().invoke(app, ["report", str(run)])
    assert done.exit_code == 2
    assert "dci-figure12 at scale quick; dci-figure9 at scale quick" in " ".join(
        done.output.split()
    )
