"""`bench search`: an attack's settings on validation images, with what is granted kept apart."""

import json

import pytest
import torch
from reproductions import MANY, NONE, SETUP, Row, small
from typer.testing import CliRunner

from bench.cli import app
from bench.estimate import requests
from bench.estimate.requests import search_estimate
from bench.options import grid
from bench.point import run as running
from bench.point.setup import Synthetic
from bench.reproduce import cli
from bench.reproduce.frame.again import shown_again
from bench.reproduce.frame.experiment import Claim, Measurement
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import Framed
from bench.reproduce.frame.search import combinations, search
from bench.reproduce.frame.trials import table
from splitlab.data import load_splits
from splitlab.errors import BadInput, SplitLabError, UnknownName
from splitlab.estimating import Forecast

IMAGES = 5
MADE = Synthetic("head", 8, {"steps": 1, "batch_size": 8})
UNCHOSEN = {"start": "mean", "choose_images": 0}
"""Else an attack looks for the rest of its settings itself, a hundred times as long."""
MEASURED = (
    Measurement("none/blind", NONE, "mean-image"),
    Measurement("none/rmle", NONE, "rmle", {"steps": 2, **UNCHOSEN}, frozenset({"head"})),
    Measurement(
        *("none/made", NONE, "rmle", {"steps": 1, **UNCHOSEN}, frozenset({"head"})), synthetic=MADE
    ),
    Measurement("many/blind", MANY, "mean-image"),
)
EXPERIMENT = small(
    measurements=MEASURED,
    rows=(Row("blind", "NONE", "blind", ("none/blind",)),),
    claims=(Claim("accuracy", "accuracy_change", "blind", "at least", margin=-100.0),),
)


SMALL = Framed(lambda _scale: EXPERIMENT)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("search") / "run"


@pytest.fixture
def seen(monkeypatch):
    """What each attack was given."""
    given = []
    run_attack = running.run_attack

    def spy(attack, threat, observation, *rest, **named):
        def observed():
            return given[-1][1]

        given.append((threat, observation()))
        return run_attack(attack, threat, observed, *rest, **named)

    monkeypatch.setattr(running, "run_attack", spy)
    return given


def tried(out, key, values, **more):
    request = ExperimentRequest(out=out, seeds=(0,), device="cpu", secret_seed=3, **more)
    return search(EXPERIMENT, key, values, request, IMAGES)


def features(head, images):
    with torch.inference_mode():
        return head(images.floats("cpu"))


def test_all_combinations_are_tried():
    assert combinations({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert grid(["tv=0.1,1", "box=True"]) == {"tv": [0.1, 1], "box": [True]}


def test_more_steps_bring_more_and_the_best_stands_first(out):
    found = tried(out, "none/rmle", {"steps": [1, 60], "learning_rate": [0.3], "tv": [0.0]})
    assert [one.settings["steps"] for one in found.tried] == [60, 1]
    best, worst = (one.trials[0] for one in found.tried)
    assert found.by.name == "psnr"
    assert best.numbers["psnr"] > worst.numbers["psnr"] + 3
    assert best.floor["psnr"] == worst.floor["psnr"]
    assert table(found).row_count == 2


def test_scored_are_validation_images_and_granted_are_others(out, seen):
    tried(out, "none/rmle", {"steps": [3]})
    threat, (observation,) = seen[0]
    splits = load_splits(SETUP.dataset, size=32, seed=0, limits={"train": SETUP.train})
    assert threat.aux is not None
    assert threat.head is not None
    granted = {row.tobytes() for row in threat.aux.validation.images.numpy()}
    distances = torch.cdist(
        observation.features.flatten(1), features(threat.head, splits.validation).flatten(1)
    )
    scored = splits.validation.subset(distances.argmin(1))
    assert float(distances.min(1).values.max()) < 0.1
    assert len({row.tobytes() for row in scored.images.numpy()} | granted) == IMAGES + len(granted)
    assert len(granted) == SETUP.validation
    victims = features(threat.head, splits.victims)
    assert float(torch.cdist(observation.features.flatten(1), victims.flatten(1)).min()) > 1


@pytest.mark.slow
def test_the_mean_image_is_at_the_floor_and_a_defended_place_is_searched_too(out):
    for key in ("none/blind", "many/blind"):
        (one,) = tried(out, key, {}).tried
        (trial,) = one.trials
        assert trial.numbers["psnr"] == pytest.approx(trial.floor["psnr"], abs=0.5)


def test_what_was_tried_is_kept_and_only_what_is_new_is_run(out, seen):
    tried(out, "none/rmle", {"steps": [4, 5]})
    first = len(seen)
    found = tried(out, "none/rmle", {"steps": [5, 6]})
    assert (first, len(seen)) == (2, 3)
    kept = [json.loads(path.read_text()) for path in found.path.glob("*.json")]
    kept = [one for one in kept if one["config"]["attack"] == "rmle"]
    assert {one["config"]["attack_options"]["steps"] for one in kept} >= {4, 5, 6}
    assert all(one["config"]["searched"] for one in kept)
    assert all(one["config"]["victims"] == IMAGES for one in kept)
    assert not list(out.glob("search/fits/*"))


def test_a_setting_that_fails_is_told_last_and_the_others_are_tried(out, monkeypatch):
    run_attack = running.run_attack

    def fails(attack, *rest, **named):
        if attack.steps == 7:
            raise SplitLabError("it came apart")
        return run_attack(attack, *rest, **named)

    monkeypatch.setattr(running, "run_attack", fails)
    found = tried(out, "none/rmle", {"steps": [7, 8]})
    assert [one.settings["steps"] for one in found.tried] == [8, 7]
    assert found.tried[1].trials[0].failed == "it came apart"
    assert found.tried[1].mean("psnr") is None


def test_a_data_free_attack_is_granted_its_own_images_alone(out, seen):
    tried(out, "none/made", {"steps": [1]})
    aux = seen[0][0].aux
    assert aux is not None
    assert aux.kind == "synthetic"
    assert len(aux.validation) == Synthetic.HELD_OUT


@pytest.mark.slow
def test_the_making_of_its_images_can_be_searched(out, seen):
    tried(out, "none/made", {"synthesis.tv": [0.0, 1.0], "steps": [1]})
    first, second = (threat.aux.images.images for threat, _ in seen)
    assert not torch.equal(first, second)
    with pytest.raises(BadInput, match="real images"):
        tried(out, "none/rmle", {"synthesis.tv": [0.0]})
    with pytest.raises(BadInput, match="its settings are"):
        tried(out, "none/made", {"synthesis.tvv": [0.0]})


def test_what_cannot_be_searched_is_said_before_anything_is_trained(tmp_path):
    with pytest.raises(UnknownName, match="none/rmle"):
        tried(tmp_path, "none/rmel", {})
    with pytest.raises(BadInput, match="its settings are"):
        tried(tmp_path, "none/rmle", {"stepz": [1]})
    for text in ("steps", "steps=", "=3", " =3"):
        with pytest.raises(BadInput, match="FIELD=VALUE"):
            grid([text])
    with pytest.raises(BadInput, match="once a field"):
        grid(["tv=1", "tv =2"])
    assert list(tmp_path.iterdir()) == []


def test_too_many_images_are_refused(out):
    request = ExperimentRequest(out=out, seeds=(0,), device="cpu", secret_seed=3)
    with pytest.raises(BadInput, match="validation images"):
        search(EXPERIMENT, "none/blind", {}, request, 10_000)


def test_the_command_shows_what_it_found(out, monkeypatch):
    monkeypatch.setattr(cli, "EXPERIMENTS", {"small": "test_search:SMALL"})
    monkeypatch.setattr(requests, "search_estimate", lambda *_: Forecast.of_stages(2, {}, 0))
    words = ["search", "small", "none/blind", "--try", "preset=", "--images", "3"]
    told = CliRunner().invoke(app, [*words, "--out", str(out), "--device", "cpu"])
    assert "FIELD=VALUE" in " ".join(told.output.split())
    words = ["search", "small", "none/rmle", "--try", "steps=1,2", "--images", "5", "--seeds", "0"]
    told = CliRunner().invoke(app, [*words, "--out", str(out), "--device", "cpu"])
    assert told.exit_code == 0, told.output
    assert "begins, 0 of 2 done" in told.output
    assert "[dB]" in told.output
    assert "Records: " in told.output
    words[words.index("steps=1,2")] = "steps=1|2"  # the same, and nothing is tried again
    words += ["--out", str(out), "--device", "cpu", "--json"]
    again = CliRunner().invoke(app, words)
    assert "begins" not in again.stderr
    found = json.loads(again.stdout)
    assert set(found) == {"format", "tried", "record"}
    assert sorted(one["settings"]["steps"] for one in found["tried"]) == [1, 2]
    for one in found["tried"]:
        assert f"{one['psnr']:.2f}" in told.output
        assert one["trials"][0]["psnr"] == one["psnr"]


def test_trials_are_not_shown_as_the_experiment(out):
    with pytest.raises(BadInput, match="trials on validation images"):
        shown_again(out / "search")


@pytest.mark.slow
def test_an_estimate_counts_a_search(out):
    request = ExperimentRequest(out=out, seeds=(0, 1), device="cpu", secret_seed=3)
    told = search_estimate(EXPERIMENT, "none/rmle", {"steps": [1, 2]}, request, IMAGES)
    assert told.points == 4
    assert "scoring" in {stage.what for stage in told.stages}
    with pytest.raises(BadInput, match="validation images"):
        search_estimate(EXPERIMENT, "none/rmle", {"steps": [1]}, request, 10_000)
