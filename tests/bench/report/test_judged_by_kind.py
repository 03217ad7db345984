"""Places, front, depth and doubts go by what an attack estimates: here by who was a member."""

import pytest
from records import interval, record

from bench.sweep import plots
from bench.sweep.depth import depth_correlations
from bench.sweep.front import pareto_front
from bench.sweep.recommend import places, recommend
from bench.sweep.report import render
from splitlab.record import doubts


def guessed(split, auc, *, floor=0.5, **more):
    """A record of a membership attack."""
    made = record(split, attack="nn-mia", **more)
    leakage = {"membership_auc": close(auc), "membership_tpr_at_1_percent": interval(3.0, "%")}
    told = {
        "estimates": "membership",
        "leakage": leakage,
        "floor": {"membership_auc": close(floor)},
    }
    return made.model_copy(update=told)


def close(mean):
    return interval(mean, "1").model_copy(update={"low": mean - 0.01, "high": mean + 0.01})


def test_a_run_of_membership_attacks_is_judged_by_its_auc():
    together = [guessed("conv1", 0.9), guessed("layer1", 0.6), guessed("layer2", 0.51)]
    advice = recommend(together)
    assert advice.split == "layer1"
    assert "(nn-mia, undefended) reaches AUC 0.600, one score for all AUC 0.500" in advice.reason
    assert "1 left out as every attack failed there" in advice.reason
    assert "dB" not in advice.reason
    assert recommend([guessed("conv1", 0.51)]).split is None


def test_the_page_speaks_of_that_number_and_that_floor(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "sweep_figure", lambda _: "")
    members = [guessed("conv1", 0.9), guessed("layer1", 0.6)]
    page = render(tmp_path, members)
    assert "Floor: answering with one score for all, on" in page
    assert "mean auxiliary image" not in page
    assert "(Spearman) of AUC with depth" in page
    both = render(tmp_path, [record("conv1", psnr=20), *members])
    assert "answering with the mean auxiliary image or one score for all, on" in both
    assert "(Spearman) of PSNR or AUC with depth" in both


def test_beside_images_both_are_told_and_images_decide():
    together = [
        record("conv1", psnr=20),
        guessed("conv1", 0.9),
        record("layer1", psnr=18),
        guessed("layer1", 0.55),
    ]
    advice = recommend(together)
    assert advice.split == "layer1"
    assert "reaches 18.0 dB" in advice.reason
    assert "; nn-mia, undefended reaches AUC 0.550" in advice.reason
    assert [leak.quantity.name for leak in places(together)[0].leaks] == ["psnr", "membership_auc"]


def same(made):
    """Where only leakage differs."""
    return made.model_copy(update={"rate": {**made.rate, "payload_up": 1000.0}})


def test_the_front_keeps_what_hides_either_of_two_secrets():
    images = [same(record("conv1", psnr=20)), same(record("layer1", psnr=30))]
    assert pareto_front(images) == {"conv1"}
    members = [same(guessed("conv1", 0.9)), same(guessed("layer1", 0.6))]
    assert pareto_front([*images, *members]) == {"conv1", "layer1"}
    assert pareto_front(members) == {"layer1"}
    near = [same(guessed("conv1", 0.609)), same(guessed("layer1", 0.6))]
    assert pareto_front(near) == {"conv1", "layer1"}


def test_depth_is_of_the_number_that_an_attack_is_judged_by():
    falling = [
        guessed(s, a)
        for s, a in zip(("conv1", "layer1", "layer2", "fc"), (0.9, 0.8, 0.7, 0.6), strict=True)
    ]
    (line,) = depth_correlations(falling)
    assert line["spearman"] == pytest.approx(-1)


def test_doubts_compare_like_with_like():
    together = [
        record("conv1", psnr=30, box="white", attack="rmle"),
        guessed("conv1", 0.9, box="white"),
        guessed("conv1", 0.95, box="black"),
    ]
    (doubt,) = [d for d in doubts(together) if "white-box" in d]
    assert "the black-box attack (0.950) beats the white-box attack (0.900)" in doubt
    assert not [d for d in doubts(together[:2]) if "white-box" in d]
