"""Doubts about what numbers rest on: each is raised where it is due and nowhere else."""

from __future__ import annotations

import pytest
import torch
from latencies import latency
from records import interval, record

from bench.point.doubtful import own_doubts, repeated, shared
from bench.point.judge import Judge, at_chance
from bench.report.page import missing_columns
from bench.sweep.table import sweep_table
from splitlab.metrics import evaluate
from splitlab.record import doubts, joined
from splitlab.record.binomial import majority, no_better, wilson
from splitlab.record.evidence_doubts import FEW_IMAGES, ROUNDING_DB, learned_from


def changed(made=None, **fields):
    """A record with some entries of its dicts replaced, whose latency is beyond doubt."""
    made = made or record()
    update = {name: {**getattr(made, name), **more} for name, more in fields.items()}
    one = made.model_copy(update=update)
    return joined([one], [latency({one.split["name"]: [3.0, 3.0]})])[0]


def test_an_interval_of_a_share_by_hand():
    """Wilson's own arithmetic, 8 of 10: (0.8 + 0.19207) / 1.38415 +- 0.2268 around 0.7167."""
    low, high = wilson(80.0, 10)
    assert (low, high) == (pytest.approx(49.02, abs=0.01), pytest.approx(94.33, abs=0.01))
    assert wilson(0.0, 0) == (0.0, 100.0)
    assert majority([0, 1, 1, 1]) == 75.0
    assert majority([]) == 0.0


@pytest.mark.parametrize(
    ("accuracy", "count", "chance", "none"),
    [
        (51.6, 128, 50.8, True),  # of two classes
        (62.0, 128, 50.8, False),
        (51.6, 50_000, 50.8, False),
        (1.2, 500, 0.4, False),
        (0.4, 500, 0.4, True),  # of a thousand
    ],
)
def test_a_victim_at_chance_is_a_doubt(accuracy, count, chance, none):
    assert no_better(accuracy, count, chance) is none
    one = changed(
        utility={"accuracy": accuracy, "accuracy_whole": accuracy, "majority": chance},
        config={"victims": count},
    )
    found = doubts([one])
    assert any("network under attack is at chance" in doubt for doubt in found) is none
    assert found or not none


def test_chance_through_the_wire_alone_is_told_of_its_place():
    one = changed(utility={"accuracy": 10.0, "majority": 12.0}, config={"defense": "gaussian"})
    (found,) = (doubt for doubt in doubts([one]) if "chance" in doubt)
    assert found.startswith("conv1: through the wire")


def test_a_judge_at_chance_says_so_in_place_of_its_rate():
    """A thousand classes, a loss of 6.79 of ln(1000) = 6.91: three of 500 images right."""
    judge = Judge(lambda images: images.flatten(1), 0.6, 500, 0.4)
    images = torch.rand(4, 3, 8, 8)
    column = evaluate(["reidentified_by_features"], images, images, judge.context)
    why = column["reidentified_by_features"].why
    assert column["reidentified_by_features"].values is None
    assert why.startswith("judge at chance: 0.6 % of 500 validation images")
    blind = interval(None, "%", why=why)
    pixels = interval(100.0, "%")
    one = changed(leakage={"reidentified_by_features": blind, "reidentified_by_pixels": pixels})
    table = sweep_table([one], None)
    cell = table.rows[0].cells[table.columns.index("re-id, features [%]")]
    assert cell.text == "judge at chance"
    assert "LPIPS alex" not in table.columns, "a reason of another kind needs no column"
    assert any("re-identification by features is not shown" in doubt for doubt in doubts([one]))
    assert any(why in line for line in missing_columns([one]))


def test_a_judge_that_knows_something_is_asked():
    judge = Judge(lambda images: images.flatten(1), 40.0, 500, 10.0)
    images = torch.rand(4, 3, 8, 8)
    column = evaluate(["reidentified_by_features"], images, images, judge.context)
    assert column["reidentified_by_features"].values.tolist() == [100.0] * 4
    assert at_chance(40.0, 500, 10.0) == ""
    assert at_chance(0.0, 0, 0.0), "no validation images, no judge"


@pytest.mark.parametrize(
    ("threat", "facts", "count"),
    [
        ({"observe": 128, "auxiliary": 128}, {}, 128),
        ({"observe": None, "auxiliary": 128}, {"learned_from": "own head"}, 128),
        ({"observe": None, "auxiliary": 128}, {"learned_from": "nothing"}, None),
        ({"observe": None, "auxiliary": 128}, {}, None),
        ({"observe": 2000, "auxiliary": 2000}, {}, 2000),
    ],
)
def test_few_images_to_learn_from(threat, facts, count):
    one = changed(threat=threat, attack_facts=facts)
    assert learned_from(one) == count
    told = [doubt for doubt in doubts([one]) if "learned from" in doubt]
    assert bool(told) is (count is not None and count < FEW_IMAGES)
    assert all("128 images" in doubt and "conv1" in doubt for doubt in told)


@pytest.mark.parametrize(("count", "few"), [(2, True), (15, True), (16, False), (None, False)])
def test_few_validation_images_to_choose_by(count, few):
    found = doubts([changed(threat={"validation": count})])
    assert any("validation images" in doubt for doubt in found) is few


def test_an_attack_that_uses_no_images_has_chosen_nothing_by_them():
    one = changed(threat={"validation": 2}, attack_facts={"learned_from": "nothing"})
    assert not any("validation images" in doubt for doubt in doubts([one]))


@pytest.mark.parametrize("utility", [{}, {"accuracy": 20.0, "accuracy_sentences": 0.0}])
def test_what_is_no_share_of_victims_has_no_interval_of_them(utility):
    """Of latents, which nothing answers, and of a translation, whose accuracy is of words."""
    one = changed(config={"victims": 16}).model_copy(update={"utility": utility})
    assert not any("victims: an accuracy" in doubt for doubt in doubts([one]))


def test_fewer_victims_were_sent_than_were_asked_for():
    """Of 128 that were asked for, as many as there were members."""
    one = changed(config={"victims": 128}, utility={"victims": 16.0})
    assert any("16 victims: an accuracy" in doubt for doubt in doubts([one]))


@pytest.mark.parametrize(("count", "few"), [(16, True), (128, False)])
def test_few_victims(count, few):
    found = doubts([changed(config={"victims": count})])
    assert any(f"{count} victims: an accuracy of 80.0 %" in doubt for doubt in found) is few


@pytest.mark.parametrize(("psnr", "capped"), [(100.0, True), (58.0, False)])
def test_more_dB_than_8_bits_hold(psnr, capped):  # noqa: N802
    found = doubts([changed(record(psnr=psnr))])
    assert pytest.approx(58.92, abs=0.01) == ROUNDING_DB
    assert any("recovers the image itself" in doubt for doubt in found) is capped


@pytest.mark.parametrize(("accuracy", "told"), [(70.0, True), (79.5, False), (90.0, True)])
def test_an_accuracy_that_the_wire_changes(accuracy, told):
    found = doubts([changed(utility={"accuracy": accuracy})])
    assert any("points" in doubt and "whole network" in doubt for doubt in found) is told


@pytest.mark.parametrize(("wire", "told"), [("FP32", True), ("INT8", False)])
def test_logits_that_deviate_on_a_plain_wire(wire, told):
    one = changed(utility={"relative_error": 0.01}, config={"wire": wire})
    assert any("deviate by 1.0e-02" in doubt for doubt in doubts([one])) is told


def test_the_same_image_twice_and_one_that_the_adversary_has():
    images = torch.arange(4 * 12, dtype=torch.uint8).reshape(4, 3, 2, 2)
    twice = torch.cat([images, images[1:2]])
    assert (repeated(images), repeated(twice)) == (0, 1)
    assert (shared(images, images[2:]), shared(images, images + 100), shared(images, None)) == (
        2,
        0,
        0,
    )
    words = own_doubts({}, {}, scored=5, victims=5, attack_doubts=(), repeated=1, shared=2)
    assert [word.partition(" victims")[0] for word in words] == ["1 of 5", "2 of 5"]
    assert own_doubts({}, {}, scored=5, victims=5, attack_doubts=()) == ()
