"""Several seeds of the experiment on text as one table, and what it says where text is missing."""

import csv
import json
from pathlib import Path

import pytest
from rich.table import Table

from bench.reproduce.ensembler.table1 import table1
from bench.reproduce.ensembler.text.experiment import over_seeds, reproduce, write_csv
from bench.reproduce.ensembler.text.table import HEADINGS, cells, claims
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.registry import EXPERIMENTS
from splitlab.errors import BadInput


def row(seed, recovery, **more):
    return {
        "seed": seed,
        "defense": "none",
        "attack": "floor",
        "recovery": recovery,
        "low": 0.0,
        "high": 100.0,
        "rarer_words": None,
        "whole_sentences": 1.0,
        "accuracy_words": 90.0,
        **more,
    }


def test_seeds_become_a_mean_with_lowest_and_highest():
    (found,) = over_seeds([row(0, 10.0), row(1, 40.0, doubts=["weak"])])
    assert (found["recovery"], found["low"], found["high"]) == (25.0, 10.0, 40.0)
    assert found["doubts"] == ["seed 1: weak"]
    assert len(cells(found)) == len(HEADINGS)


def test_a_seed_that_was_skipped_is_named_and_counts_for_nothing():
    missing = {"seed": 1, "defense": "none", "attack": "floor", "skipped": "noise"}
    (found,) = over_seeds([row(0, 10.0), missing])
    assert found["recovery"] == pytest.approx(10.0)
    assert found["doubts"] == ["seed 1: noise"]
    assert over_seeds([row(0, 10.0)]) == [row(0, 10.0)]
    assert len(cells(missing)) == len(HEADINGS)


def test_the_paper_scale_without_text_is_skipped(tmp_path):
    assert EXPERIMENTS["ensembler-text"] == "bench.reproduce.ensembler.text.experiment:reproduce"
    shown = reproduce(ExperimentRequest(out=tmp_path, scale="paper", seeds=(0, 1)))
    assert isinstance(shown.parts[0], Table)
    assert "skipped (--text-root was not given" in shown.page.read_text()
    found = json.loads((tmp_path / "summary.json").read_text())
    assert (found["experiment"], found["seeds"]) == ("ensembler-text", [0, 1])
    assert [row["seed"] for row in found["by_seed"]] == [0, 1]
    (line,) = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert line["skipped"].startswith("--text-root was not given")


def test_the_table_holds_the_rows_numbers(tmp_path):
    rows = [row(0, 10.5, doubts=["weak", "few"]), row(0, 99.0, attack="ceiling", losses=[1.0])]
    write_csv(tmp_path / "table.csv", rows)
    floor, ceiling = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    assert (floor["recovery"], floor["doubts"], floor["rarer_words"]) == ("10.5", "weak; few", "")
    assert (ceiling["attack"], ceiling["recovery"]) == ("ceiling", "99.0")


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"dataset": "cifar10"}, "--dataset"),
        ({"data_root": Path("data")}, "--data-root"),
        ({"download": True}, "--download"),
        ({"lpips_weights": Path("weights")}, "--lpips-weights"),
    ],
)
def test_options_for_images_are_refused(tmp_path, given, flag):
    with pytest.raises(BadInput, match=f"{flag}: ensembler-text has no use for it"):
        reproduce(ExperimentRequest(out=tmp_path / "run", scale="paper", **given))
    assert not (tmp_path / "run").exists()


def test_an_option_for_text_is_refused_by_the_others(tmp_path):
    with pytest.raises(BadInput, match="--text-root: ensembler-table1 has no use for it"):
        table1(ExperimentRequest(out=tmp_path / "run", text_root=tmp_path))


def test_the_papers_claims_are_judged_by_the_rows():
    rows = [
        row(0, 20.0),
        row(0, 99.0, attack="shadow, on shadow features"),
        row(0, 25.0, attack="shadow, on client features"),
        row(0, 80.0, attack="cipher, source alone"),
    ]
    literal, stronger = claims(rows)
    assert "not the client's: holds (99.0 % and 25.0 %)" in literal
    assert "without queries: does not hold (the cipher reads 80.0 %" in stronger
    read = [*rows[:2], row(0, 70.0, attack="shadow, on client features")]
    assert "does not hold" in claims(read)[0]
    assert len(claims(read)) == 1
