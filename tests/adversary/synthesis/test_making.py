"""What is told of the making of synthetic images: from the folder to what an attack says."""

from __future__ import annotations

import json
import shutil
from itertools import count

import pytest
import torch
from test_attack_images import ATTACKS, granted, place, run
from test_synthesis import CPU, SETTINGS, known

from adversary.contract.grant import read_grant, write_grant
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.attack import DCI
from adversary.synthesis.folder import make_images, making, own_images
from splitlab.contracts import Features
from splitlab.randomness import generator
from splitlab.storage import read_json, write_json

__all__ = ["place"]
ONE = SETTINGS.model_copy(update={"steps": 1})
NAME = "provenance.json"


@pytest.fixture
def clock(monkeypatch):
    """One of its own, by which each batch takes one second."""
    ticks = count()
    monkeypatch.setattr("adversary.synthesis.folder.perf_counter", lambda: float(next(ticks)))
    return ticks


def test_seconds_are_summed_over_sittings_and_are_not_spent_twice(tmp_path, clock):
    def images(wanted):
        return make_images(tmp_path, known(), ONE, count=wanted, seed=1, device=CPU)

    images(16)
    content = images(48)
    assert making(content, 48)["seconds"] == 3.0
    assert making(read_json(tmp_path / NAME), 48) == making(content, 48)
    # of the batches that are learned from, and of no others
    assert making(content, 17)["seconds"] == 2.0
    assert making(images(48), 48) == making(content, 48)
    assert next(clock) == 6


def test_of_a_folder_from_before_seconds_were_kept_none_are_told(tmp_path):
    old = make_images(tmp_path, known(), ONE, count=16, seed=1, device=CPU)
    del old["batches"]["0"]["seconds"]
    write_json(tmp_path / NAME, old)
    assert "seconds" not in making(old, 16)
    content = make_images(tmp_path, known(), ONE, count=32, seed=1, device=CPU)
    assert "seconds" in content["batches"]["1"]
    assert "seconds" not in making(content, 32)


def test_errors_are_the_worst_and_the_median_of_what_the_batches_say():
    batches = {
        "0": {"mean_error": [0.1, 0.4], "variance_error": [0.2, 0.3], "seconds": 1.0},
        "1": {"mean_error": [0.2, 0.3], "variance_error": [0.9, 0.1], "seconds": 2.0},
        "2": {"mean_error": [7.0, 7.0], "variance_error": [7.0, 7.0], "seconds": 4.0},
    }
    assert making({"settings": {"batch_size": 8}, "batches": batches}, 12) == {
        "seconds": 3.0,
        "mean_error": {"worst": 0.4, "median": 0.25},
        "variance_error": {"worst": 0.9, "median": 0.25},
    }
    unmatched = {"0": {"mean_error": [], "variance_error": [], "seconds": 1.0}}
    told = making({"settings": {"batch_size": 8}, "batches": unmatched}, 8)
    assert told == {"seconds": 1.0}


def test_the_command_prints_them(place, tmp_path):
    small = ["--set", "steps=2", "--set", "batch_size=12", "--count", "24"]
    words = ["synthesise", "--knows", place / "grant", "--out"]
    done = run(*words, tmp_path / "one", *small)
    assert done.exit_code == 0, done.output
    told = making(read_json(tmp_path / "one" / NAME), 24)
    means, variances = told["mean_error"], told["variance_error"]
    assert f"means {means['worst']:.3g} ({means['median']:.3g}) standard" in done.output
    assert f"variances {variances['worst']:.1%} ({variances['median']:.1%})" in done.output
    done = run(*words, tmp_path / "two", *small, "--set", "statistics=0")
    assert done.exit_code == 0, done.output
    assert "off by" not in done.output


@pytest.mark.parametrize("attack", [*ATTACKS, "rmle"])
def test_an_attack_tells_it_if_and_only_if_it_learned_from_them(place, attack, tmp_path):
    settings = {"rmle": {"steps": "2", "choose_images": "0"}, **ATTACKS}[attack]
    words = [f"--set={field}={value}" for field, value in settings.items()]
    words += ["--attack", attack, "--images", place / "images", "--out", tmp_path / "out"]
    done = run("attack", place / "capture", "--knows", place / "grant", *words)
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "estimate.json").read_text())["extra"].get("making")
    wanted = making(read_json(place / "images" / NAME), 24)
    assert wanted.keys() == {"seconds", "mean_error", "variance_error"}
    assert told == (None if attack == "rmle" else wanted)


def test_an_older_folder_still_serves_an_attack(place, tmp_path):
    old = shutil.copytree(place / "images", tmp_path / "old")
    content = read_json(old / NAME)
    for facts in content["batches"].values():
        del facts["seconds"]
    write_json(old / NAME, content)
    threat = own_images(old, read_grant(place / "grant"))
    assert len(threat.aux.images) == 21
    assert threat.aux.making.keys() == {"mean_error", "variance_error"}


@pytest.mark.parametrize("kept", [True, False])
def test_dci_tells_it_of_the_images_that_it_makes_itself(kept, tmp_path, clock):
    fields = {"images": 20, "synthesis_steps": 2, "synthesis_batch": 12, "epochs": 1}
    attack = DCI.configured({**fields, "tune_epochs": 0})
    threat = granted()
    seen = Features(("a",), threat.head(torch.rand(1, 3, 16, 16, generator=generator(1))))
    for _ in range(2):  # what is kept is not made again, and cost what it cost
        work = Workplace(checkpoint=tmp_path / "fit.pt" if kept else None)
        fitted = attack.fit(threat, generator(0), work)
        assert fitted(seen).extra["making"]["seconds"] == 2.0
    assert next(clock) == (4 if kept else 8)


def test_a_grant_keeps_it(place, tmp_path):
    threat = own_images(place / "images", read_grant(place / "grant"))
    write_grant(tmp_path / "grant", threat)
    assert read_grant(tmp_path / "grant").aux.making == threat.aux.making != {}
