"""`dci-gan`: a generator and its inverse, from images to page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from adversary.inversion.dci.training import InverseSchooling
from bench.reproduce.dci import figures6_7 as dci_gan
from bench.reproduce.frame.request import ExperimentRequest
from splitlab.errors import BadInput, Unavailable
from splitlab.models.sngan import SNGANGenerator
from splitlab.storage import read_json, read_tensors, sha256
from splitlab.training.gan import GanRecipe

SMALL = replace(
    dci_gan.CONFIGS["quick"],
    train=64,
    gan=GanRecipe(width=8, epochs=1, rounds=1, batch_size=32),
    latents=64,
    schooling=InverseSchooling(1, 1e-3, 1, 1e-4, 32, 1.0, 1.0, 1.0, False),
    victims=16,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    paper = replace(SMALL, dataset="")
    monkeypatch.setattr(dci_gan, "CONFIGS", {"quick": SMALL, "paper": paper})


def test_it_measures_draws_and_is_not_repeated(tmp_path: Path, monkeypatch) -> None:
    out = tmp_path / "gan"
    request = ExperimentRequest(out, seeds=(0,))
    shown = dci_gan.reproduce(request)
    (row,) = read_json(out / "summary.json")["rows"]
    assert row["victims"] == SMALL.victims
    kept = read_tensors(out / "seed-0" / "generator.safetensors")
    net = SNGANGenerator(SMALL.size, SMALL.gan.width)
    net.load_state_dict(kept)
    values = (value.numpy().tobytes() for value in net.state_dict().values())
    assert row["generator"] == sha256(*values)
    assert row["floor_psnr"] > 5
    assert 0 < row["latent_error"] < 5
    assert shown.page.read_text().count("data:image/png") == 2

    def never(what: str):
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError(what)

        return refuse

    monkeypatch.setattr(dci_gan, "invert", never("inverted again"))
    monkeypatch.setattr(dci_gan, "train_sngan", never("trained again"))
    dci_gan.reproduce(request)
    assert read_json(out / "summary.json")["rows"] == [row]
    (out / "seed-0" / "finished.json").unlink()
    with pytest.raises(AssertionError, match="inverted again"):  # by the generator that was kept
        dci_gan.reproduce(request)


def test_other_images_or_settings_are_refused(tmp_path: Path, monkeypatch) -> None:
    request = ExperimentRequest(tmp_path / "gan", seeds=(0,))
    dci_gan.reproduce(request)
    kept = tmp_path / "gan" / "seed-0" / "images.json"
    kept.write_text(kept.read_text().replace('"images": "', '"images": "0'))
    with pytest.raises(BadInput, match="other settings or images"):
        dci_gan.reproduce(request)
    other = {"quick": replace(SMALL, victims=17)}
    monkeypatch.setattr(dci_gan, "CONFIGS", other)
    with pytest.raises(BadInput, match="choose another --out"):
        dci_gan.reproduce(request)


def test_a_scale_without_data_says_what_to_name(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="--dataset imagefolder:PATH"):
        dci_gan.reproduce(ExperimentRequest(tmp_path / "gan", scale="paper", seeds=(0,)))
