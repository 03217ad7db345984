"""A new kind of estimate: one file and one line of the registry, and a sweep shows it."""

import in_process
import pytest
from brightness_attack import BRIGHTNESS
from records import interval, record
from typer.testing import CliRunner

from adversary.registry import ATTACKS
from bench.cli import app
from bench.point.doubtful import own_doubts
from bench.point.score import score
from bench.sweep.recommend import recommend
from splitlab.data import load_splits
from splitlab.record import RecordStore

WORDS = ("--model=tiny_cnn", "--splits=1", "--epochs=0", "--device=cpu", "--train-images=64")
FEW = ("--queries=48", "--validation=16", "--victims=24")


@pytest.fixture
def registered(monkeypatch):
    """The registry with one more line."""
    line = {"brightness": "brightness_attack:Brightness"}
    monkeypatch.setattr(ATTACKS, "_entries", {**ATTACKS._entries, **line})
    in_process.stand_in(monkeypatch)


@pytest.mark.usefixtures("registered")
def test_a_sweep_takes_a_kind_that_nobody_else_knows(tmp_path):
    run = tmp_path / "run"
    flags = ("--attack=brightness", "--attack=mean-image", f"--out={run}")
    done = CliRunner().invoke(app, ["sweep-split-points", *WORDS, *FEW, *flags])
    assert done.exit_code == 0, f"{done.output[-2000:]}\n{done.exception!r}"
    made = {record.config["attack"]: record for record in RecordStore(run).all()}
    record = made["brightness"]
    assert record.estimates == "brightness"
    assert set(record.leakage) == {"brightness_error", "brightness_correlation"}
    error, floor = record.leakage["brightness_error"], record.floor["brightness_error"]
    assert error.mean < 0.5 * floor.mean  # the channels' means of a shallow feature tell it
    assert error.low < error.mean < error.high
    assert record.leakage["brightness_correlation"].mean > 0.8
    assert not any("the attack failed" in doubt for doubt in record.doubts)
    assert (run / "images" / record.images).read_text().startswith("<svg")
    assert made["mean-image"].estimates == "image"
    assert made["mean-image"].leakage["psnr"].mean == made["mean-image"].floor["psnr"].mean
    page = (run / "report.html").read_text()
    for heading in ("brightness error", "brightness correlation", "floor, brightness error"):
        assert heading in page
    assert "brightness error 0.0" in done.output  # in the terminal's table, named
    again = CliRunner().invoke(app, ["sweep-split-points", *WORDS, *FEW, *flags])
    assert "begins" not in again.output


def test_an_attack_at_its_own_kinds_floor_has_failed():
    """The same answer to all: the floor itself, in the words of the kind and of its metric."""
    victims = load_splits("photo-patches", limits={"train": 20}).victims.take(12, 0)
    floor = BRIGHTNESS.floor_of(victims)
    ids = [str(row) for row in range(12)]
    join = {key: int(key) for key in ids}
    told = score(ids, floor.expand(12), join, victims, floor, {}, 0, BRIGHTNESS)
    doubts = own_doubts(
        told.leakage, told.floor, scored=12, victims=12, attack_doubts=(), kind=BRIGHTNESS
    )
    (failed,) = [doubt for doubt in doubts if "the attack failed" in doubt]
    error = f"{told.leakage['brightness_error'].mean:.4f}"
    assert f"{error} is no better than answering with the mean brightness ({error})" in failed
    true = score(ids, BRIGHTNESS.truth(victims, {}), join, victims, floor, {}, 0, BRIGHTNESS)
    assert true.leakage["brightness_error"].mean == 0
    assert true.leakage["brightness_correlation"].mean == pytest.approx(1)
    fine = own_doubts(
        true.leakage, true.floor, scored=12, victims=12, attack_doubts=(), kind=BRIGHTNESS
    )
    assert fine == ()


@pytest.mark.usefixtures("registered")
def test_a_recommendation_has_the_kinds_own_words():
    made = record("conv1", attack="brightness")
    told = interval(0.01).model_copy(update={"leakage": "falls"})
    floor = told.model_copy(update={"mean": 0.1})
    own = {"leakage": {"brightness_error": told}, "floor": {"brightness_error": floor}}
    advice = recommend([made.model_copy(update={"estimates": "brightness", **own})])
    assert advice.split == "conv1"
    assert f"{BRIGHTNESS.floor_is} brightness error 0.1" in advice.reason
