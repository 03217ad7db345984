"""`dci-gan`: a generator and its inverse, from images to records and page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from adversary.inversion.dci.gan_inversion import invert
from adversary.inversion.dci.generator_attack import GeneratorInverse
from adversary.inversion.dci.training import InverseSchooling
from bench.estimate import requests
from bench.estimate.requests import reproduce_estimate
from bench.point.identity.config import PointConfig
from bench.point.run import run as run_point
from bench.point.sights import generated
from bench.point.sights.generated import Generated
from bench.reproduce.dci import figures6_7 as dci_gan
from bench.reproduce.frame.again import shown_again
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import begin
from bench.reproduce.frame.search import search
from bench.reproduce.frame.summary import summarise
from splitlab.errors import BadInput, UnknownName
from splitlab.metrics.image.psnr import psnr
from splitlab.models.sngan import SNGANGenerator
from splitlab.randomness import generator
from splitlab.record import Leakage, Record, RecordStore
from splitlab.storage import read_json, read_tensors, sha256, write_tensors
from splitlab.training.gan import GanRecipe

SCHOOLING = InverseSchooling(1, 1e-3, 1, 1e-4, 32, 1.0, 1.0, 1.0, False)
ATTACK = {"latents": 64, **vars(SCHOOLING)}
SMALL = replace(
    dci_gan.SCALES["quick"],
    train=64,
    gan=GanRecipe(width=8, epochs=1, rounds=1, batch_size=32),
    attack=ATTACK,
    victims=16,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = replace(SMALL, dataset="")
    monkeypatch.setattr(dci_gan, "SCALES", {"quick": SMALL, "paper": paper})


def request_of(folder: Path, **more: Any) -> ExperimentRequest:
    given: dict[str, Any] = {"seeds": (0,), "device": "cpu", "cache": folder / "cache"}
    return ExperimentRequest(folder / "gan", **{**given, **more})


def never(what: str) -> Any:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError(what)

    return refuse


def test_it_measures_draws_and_is_not_repeated(tmp_path: Path, monkeypatch: Any) -> None:
    request = request_of(tmp_path)
    shown = dci_gan.figures(request)
    records = {r.config["measurement"]: r for r in RecordStore(request.out).all()}
    assert set(records) == {f"part{part}" for part in range(1, 6)}
    one = records["part5"]
    assert (one.estimates, one.leakage["latent_error"].items) == ("latent", SMALL.victims)
    assert one.threat == {"head": True, "bodies": True, "box": "white"}
    assert one.utility["mean_image_psnr"] > 5
    (kept,) = (tmp_path / "cache").glob("generators/*/generator.safetensors")
    net = SNGANGenerator(SMALL.size, SMALL.gan.width)
    net.load_state_dict(read_tensors(kept))
    values = (value.numpy().tobytes() for value in net.state_dict().values())
    assert one.split["generator"] == sha256(*values)
    assert shown.page.read_text().count("data:image/png") >= 3
    rows = read_json(request.out / "summary.json")["rows"]

    monkeypatch.setattr(generated, "train_sngan", never("trained again"))
    monkeypatch.setattr(GeneratorInverse, "fit", never("inverted again"))
    dci_gan.figures(request)
    assert read_json(request.out / "summary.json")["rows"] == rows
    shown_again(request.out)
    assert read_json(request.out / "summary.json")["rows"] == rows
    (request.out / "records" / f"{one.hash}.json").unlink()
    with pytest.raises(AssertionError, match="inverted again"):  # by the generator that was kept
        dci_gan.figures(request)


def test_numbers_are_those_of_the_generator_and_its_inverse(tmp_path: Path) -> None:
    """By hand, with the same seeds: latents, inverse, second generation; of images and of part 1.

    Joined a row off, truth is another latent.
    """
    request = request_of(tmp_path)
    dci_gan.figures(request)
    (kept,) = (tmp_path / "cache").glob("generators/*/generator.safetensors")
    net = SNGANGenerator(SMALL.size, SMALL.gan.width)
    net.load_state_dict(read_tensors(kept))
    net.requires_grad_(False).eval()
    z = torch.randn(SMALL.victims, 128, generator=generator(0, "gan", "victims"))
    inverse, _ = invert(net, SCHOOLING, latents=64, seed=0)
    steps = list(inverse.children())
    with torch.inference_mode():
        again = inverse(net(z))
        first = steps[-1](net.parts()[0](z))
        quality = psnr((net(z) + 1) / 2, (net(again) + 1) / 2)
    records = {r.config["measurement"]: r for r in RecordStore(request.out).all()}
    told = records["part5"].leakage
    assert told["latent_error"].mean == pytest.approx(float((z - again).abs().mean()), rel=1e-4)
    assert told["second_generation_psnr"].mean == pytest.approx(float(quality.mean()), rel=1e-4)
    of_first = records["part1"].leakage["latent_error"].mean
    assert of_first == pytest.approx(float((z - first).abs().mean()), rel=1e-4)


class Knows(GeneratorInverse):
    """The latents of whatever it is shown, in that order."""

    def fit(self, threat: Any, rng: Any, work: Any = None) -> Any:
        from splitlab.contracts import Estimate

        del rng, work
        z = torch.randn(SMALL.victims, 128, generator=generator(0, "gan", "victims"))
        made = threat.head(z)

        def answer(seen: Any) -> Estimate:
            return Estimate(z[torch.cdist(seen.features.flatten(1), made.flatten(1)).argmin(1)])

        return answer


@pytest.mark.parametrize("rolled", [0, 1])
def test_truth_is_joined_to_what_was_seen(tmp_path: Path, monkeypatch: Any, rolled: int) -> None:
    truth = Generated.truth

    def off(sight: Generated) -> Any:
        found = truth(sight)
        rows = [*found.join.values()]
        return replace(
            found, join=dict(zip(found.join, rows[rolled:] + rows[:rolled], strict=True))
        )

    monkeypatch.setattr(Generated, "truth", off)
    monkeypatch.setattr("bench.point.run.make_attack", lambda *_: Knows())
    begun = begin(dci_gan.declared("quick"), request_of(tmp_path)).run(0)
    point = begun.point(begun.experiment.measurements[1])
    found = run_point(point, begun.lab)
    assert isinstance(found, Record)
    error = found.leakage["latent_error"].mean
    assert (error == 0.0) is not bool(rolled)
    assert error is not None
    assert error < 1e-6 or error > 0.8


def judged_of(psnr: float, error: float) -> list[str]:
    """Verdicts over one seed in which the mean image has 12 dB, and 0 is off by 1.1."""

    def told(mean: float) -> Leakage:
        return Leakage(unit="1", leakage="falls", mean=mean, low=mean, high=mean)

    made = Record(
        hash="0" * 64,
        method_version=1,
        config={"measurement": "part5", "place": "part5", "attack": "generator-inverse"},
        data_hash="0" * 64,
        created="",
        split={"name": "part5", "index": 4},
        threat={},
        utility={"mean_image_psnr": 12.0},
        rate={},
        leakage={"second_generation_psnr": told(psnr), "latent_error": told(error)},
        floor={"latent_error": told(1.1)},
        effort={},
        estimates="latent",
        environment={},
    )
    found = summarise(dci_gan.declared("quick"), {0: {"part5": made}})
    return [one.verdict for one in found.judged]


def test_the_verdicts_are_its_numbers() -> None:
    assert judged_of(22.0, 0.5) == ["holds"] * 3
    assert judged_of(11.0, 1.2) == ["does not hold"] * 3


def test_a_given_generator_needs_no_images(tmp_path: Path, monkeypatch: Any) -> None:
    torch.manual_seed(3)
    path = tmp_path / "given.safetensors"
    write_tensors(path, SNGANGenerator(SMALL.size, SMALL.gan.width).state_dict())
    monkeypatch.setattr(generated, "train_sngan", never("trained"))
    request = request_of(tmp_path, scale="paper", weights=path)
    dci_gan.figures(request)
    records = RecordStore(request.out).all()
    assert {record.config["weights_hash"] for record in records} != {None}
    assert "was given" in read_json(request.out / "summary.json")["notes"][-1]


def test_other_settings_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    begin(dci_gan.declared("quick"), request_of(tmp_path)).run(0)
    other = replace(SMALL, gan=GanRecipe(width=16, epochs=1, rounds=1, batch_size=32))
    monkeypatch.setattr(dci_gan, "SCALES", {"quick": other})
    with pytest.raises(BadInput, match="choose another --out"):
        dci_gan.figures(request_of(tmp_path))


def test_a_scale_without_data_says_what_to_name(tmp_path: Path) -> None:
    dci_gan.figures(request_of(tmp_path, scale="paper"))
    rows = read_json(tmp_path / "gan" / "summary.json")["rows"]
    assert all("--dataset imagefolder:PATH" in row["skipped"] for row in rows)


def test_what_is_no_part_or_no_generator_is_refused(tmp_path: Path) -> None:
    experiment = dci_gan.declared("quick")
    for change, error, words in (
        ({"head_end": "layer1"}, UnknownName, "part of the generator"),
        ({"model": "resnet20"}, BadInput, "makes no images of latents"),
    ):
        setup = experiment.setup.model_copy(update=change)
        with pytest.raises(error, match=words):
            Generated.check(setup, {(setup.head_end, None): []})
    with pytest.raises(BadInput, match="--secret-seed: dci-gan has no use for it"):
        dci_gan.figures(request_of(tmp_path, secret_seed=1))


def test_a_dry_run_rehearses_one_seed_and_counts_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FREE_SECONDS", float("inf"))
    request = request_of(tmp_path, seeds=(0, 1), workers=4)
    found = reproduce_estimate(dci_gan.figures, request)
    assert found.points == 2
    assert "sngan" in {stage.what for stage in found.stages}
    assert found.not_counted == ()
    assert not (request.out / "records").exists()
    assert not (tmp_path / "cache").exists()


def test_settings_of_an_inverse_are_searched_on_other_latents(tmp_path: Path) -> None:
    request = request_of(tmp_path)
    experiment = dci_gan.figures.experiment(request)
    found = search(experiment, "part1", {"latents": [64, 96]}, request, 4)
    assert found.by.name == "latent_error"
    assert [trial.failed for one in found.tried for trial in one.trials] == ["", ""]
    gains = [found.by.gain(one.trials[0].numbers["latent_error"], 0.0) for one in found.tried]
    assert gains[0] >= gains[1]
    records = RecordStore(tmp_path / "gan" / "search").all()
    assert {r.leakage["latent_error"].items for r in records} == {4}
    (config, *_) = [PointConfig.model_validate(r.config) for r in records]
    lab = begin(experiment, request).run(0).lab  # type: ignore[union-attr]
    tried, kept = (
        Generated(c, lab).truth().items
        for c in (config, config.model_copy(update={"searched": False}))
    )
    assert not torch.isclose(tried[:, :1], kept[:, 0]).any()
