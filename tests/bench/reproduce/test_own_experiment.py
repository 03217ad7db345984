"""An experiment over another kind, declared in 60 lines: rows, CSV, verdicts, page, figures."""

import csv
import pickle
import re
from dataclasses import replace
from pathlib import Path

import own_experiment
import pytest
import torch
from own_experiment import AUC, TPR, table1
from reproductions import interval, made

from bench.report.roc import save_roc
from bench.reproduce.frame.charts import Bars, Curve, CurveTable, Swept
from bench.reproduce.frame.columns import ACCURACY, Fact, FactColumn
from bench.reproduce.frame.experiment import Claim
from bench.reproduce.frame.page import write_page
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import check
from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import rich_parts, write_csv
from splitlab.errors import BadInput, UnknownName

EXPERIMENT = table1.build("quick")
READS = {"none": (0.70, 82.0, 40.0), "some": (0.58, 80.0, 6.0), "much": (0.51, 61.0, 0.5)}
"""Noise -> AUC of the learned attack, accuracy, epsilon; by the loss it is 0.03 less."""


def record(key, seed):
    noise, _, way = key.partition("/")
    auc, accuracy, epsilon = READS[noise]
    auc += 0.01 * seed - (0.03 if way == "by loss" else 0.0)
    one = made(key, seed, accuracy=accuracy, place=noise, fit_seconds=1800.0)
    return one.model_copy(
        update={
            "leakage": {AUC: interval(auc), TPR: interval(100 * (auc - 0.5), "%")},
            "floor": {AUC: interval(0.5), TPR: interval(1.0, "%")},
            "estimates": "membership",
            "attack_facts": {"epsilon": epsilon} if way == "learned" else {},
        }
    )


FOUND = {
    seed: {one.key: record(one.key, seed) for one in EXPERIMENT.measurements} for seed in (0, 1)
}


@pytest.fixture(scope="module")
def summary():
    return summarise(EXPERIMENT, FOUND)


def test_it_is_declared_in_few_lines_and_travels_to_a_worker():
    assert len(Path(own_experiment.__file__).read_text().splitlines()) <= 70
    assert pickle.loads(pickle.dumps(EXPERIMENT)).columns == EXPERIMENT.columns


def test_rows_hold_its_own_columns(tmp_path, summary):
    write_csv(tmp_path / "table.csv", summary)
    first, by_loss, *_ = csv.DictReader((tmp_path / "table.csv").read_text().splitlines())
    numbers = [float(first[f"{AUC}.{what}"]) for what in ("mean", "min", "max", "floor", "paper")]
    assert numbers == pytest.approx([0.705, 0.70, 0.71, 0.5, 0.71])
    assert float(first["epsilon.mean"]) == 40.0
    assert by_loss["epsilon.mean"] == by_loss[f"{AUC}.paper"] == ""
    assert not [name for name in first if "psnr" in name or "ssim" in name]


def test_verdicts_follow_the_metric_s_own_floor_and_resolution(summary):
    verdicts = {one.claim.text: one for one in summary.judged}
    assert verdicts["Much noise hides members"].verdict == "holds"
    assert "at its floor, no proof" in verdicts["Much noise hides members"].reason
    assert verdicts["The loss alone tells as much"].verdict == "does not hold"
    assert verdicts["Epsilon stays small"].verdict == "holds"
    assert verdicts["Accuracy stays"].verdict == "holds"
    stricter = Claim("Epsilon is tiny", "epsilon", "some/learned", "at most", margin=1.0)
    (told,) = summarise(replace(EXPERIMENT, claims=(stricter,)), FOUND).judged
    assert (told.verdict, told.reason) == (
        "does not hold",
        "seed 0: 6.0, limit 1.0; seed 1: 6.0, limit 1.0",
    )


def test_where_a_metric_falls_as_more_leaks_the_smaller_side_must_beat_its_floor():
    """Errors of 0.02 and 0.30, floor 0.30: the second attack has failed, the first has not."""
    error = "latent_error"

    def told(key, value):
        one = record(key, 0)
        return one.model_copy(
            update={
                "leakage": {error: interval(value)},
                "floor": {error: interval(0.30)},
            }
        )

    found = {
        0: {"none/learned": told("none/learned", 0.02), "much/learned": told("much/learned", 0.3)}
    }
    pair = ("much/learned", "none/learned")
    claims = (
        Claim("noise hides it", error, pair[0], "above", pair[1]),
        Claim("noise helps", error, pair[0], "below", pair[1]),
    )
    few = replace(EXPERIMENT, columns=(error,), claims=claims)
    hides, helps = summarise(few, found).judged
    assert (hides.verdict, helps.verdict) == ("holds", "cannot be judged")
    assert "the attack failed on the side that leaks less" in hides.reason
    many = replace(
        EXPERIMENT.lines[0], of=EXPERIMENT.lines[0].of + EXPERIMENT.lines[4].of, best=error
    )
    assert many.pick(found[0]).config["measurement"] == "none/learned"


def test_the_terminal_and_the_page_say_what_the_kind_says(tmp_path, summary):
    torch.manual_seed(0)
    for own in FOUND.values():
        for one in own.values():
            save_roc(tmp_path / "images" / f"{one.hash}.svg", torch.arange(8) < 4, torch.rand(8))
    records = [one for own in FOUND.values() for one in own.values()]
    page = write_page(tmp_path, EXPERIMENT, summary, records, {}).read_text()
    for words in ("AUC", "TPR at 1 % FPR", "epsilon", "accuracy [%]", "one score for all", "Price"):
        assert words in page
    for words in ("SSIM", "PSNR", "decoder with queries", "mean image", "LPIPS"):
        assert words not in page
    assert "a difference of 0.01 of AUC is none" in page
    assert "not above the floor (0.02 of AUC)" in page
    assert page.count("data:image/svg+xml;base64,") == len(EXPERIMENT.lines)  # of the first seed
    (table,) = [part for part in rich_parts(summary) if getattr(part, "title", "") == "Price"]
    assert table.row_count == 2


def test_its_own_table_has_facts_and_the_paper_s_number():
    (price,) = EXPERIMENT.extra(FOUND)
    assert price.columns == ("line", "hours", "paper: hours")
    assert price.rows == (("none noise", "0.50", ""), ("some noise", "0.50", "1.5"))


def test_figures_of_every_kind_are_drawn_from_the_same_lines():
    scatter = EXPERIMENT.figure(FOUND)
    for words in ("accuracy [%]", "AUC", "none noise", "much noise", "learned", "by loss"):
        assert f">{words}<" in scatter
    bars = Bars((AUC, ACCURACY))(EXPERIMENT, FOUND)
    assert bars.count("some noise") == 2  # one for each way of asking
    curves = tuple(
        Curve(way, ((0.0, f"none/{way}"), (0.3, f"some/{way}"), (3.0, f"much/{way}")))
        for way in ("learned", "by loss")
    )
    swept = Swept("noise", curves, left=AUC)
    drawn = swept(EXPERIMENT, FOUND)
    assert drawn.startswith("<svg")
    assert all(f">{words}<" in drawn for words in ("learned", "by loss", "noise", "AUC"))
    (table,) = CurveTable("Curves", swept, "way")(EXPERIMENT, FOUND)
    assert table.columns == ("way", "noise", "AUC")
    assert table.rows[:2] == (("learned", "0", "0.705"), ("learned", "0.3", "0.585"))
    assert len(table.rows) == 6


def test_a_column_without_a_place_in_a_record_is_refused():
    with pytest.raises(BadInput, match=r"a record has no 'attack_fact'; it has .*attack_facts"):
        Fact("attack_fact.epsilon")
    missing = FactColumn("x", "1", "rises", title="x", fact=Fact("attack_facts.nothing.at_all"))
    summary = summarise(replace(EXPERIMENT, columns=(missing,), claims=()), FOUND)
    assert summary.rows[0].metrics == {"x": None}


def test_the_example_of_the_handbook_is_an_experiment(tmp_path):
    page = Path(__file__).resolve().parents[3] / "docs" / "reproduce.md"
    (block,) = re.findall("```python\n(.*?)```", page.read_text(), re.DOTALL)
    there = {}
    exec(compile(block, "docs/reproduce.md", "exec"), there)
    experiment = there["noise"].experiment(ExperimentRequest(tmp_path / "run"))
    check(experiment)
    own = {
        name: made(name, psnr=psnr, accuracy=accuracy, place=name)
        for name, psnr, accuracy in (
            ("none", 25.0, 90.0),
            ("some", 20.0, 85.0),
            ("much", 14.0, 40.0),
        )
    }
    summary = summarise(experiment, {0: own})
    assert [row.metrics["accuracy"].mean for row in summary.rows] == [90.0, 85.0, 40.0]
    assert [one.verdict for one in summary.judged] == ["holds"]
    assert "much noise" in summary.figure
    assert any(row.row.paper for row in summary.rows)
    with pytest.raises(UnknownName, match="psnr"):
        replace(experiment, claims=(replace(experiment.claims[0], metric="pnsr"),))
