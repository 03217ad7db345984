"""Several seeds of the experiment on text as one table, and what it says where text is missing."""

import pytest
from rich.table import Table

from bench.reproduce.registry import EXPERIMENTS
from bench.reproduce.request import Request
from bench.reproduce.text import over_seeds, reproduce
from bench.text_table import HEADINGS, cells, claims


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
    assert found["doubts"] == ["weak"]
    assert len(cells(found)) == len(HEADINGS)


def test_a_seed_that_was_skipped_is_named_and_counts_for_nothing():
    missing = {"seed": 1, "defense": "none", "attack": "floor", "skipped": "noise"}
    (found,) = over_seeds([row(0, 10.0), missing])
    assert found["recovery"] == pytest.approx(10.0)
    assert found["doubts"] == ["seed 1: noise"]
    assert over_seeds([row(0, 10.0)]) == [row(0, 10.0)]
    assert len(cells(missing)) == len(HEADINGS)


def test_the_paper_scale_without_text_is_skipped(tmp_path):
    assert EXPERIMENTS["ensembler-text"] == "bench.reproduce.text:reproduce"
    shown = reproduce(Request(out=tmp_path, scale="paper", seeds=(0, 1)))
    assert isinstance(shown.parts[0], Table)
    assert "skipped (--text-root was not given" in shown.page.read_text()


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
