"""`bench sweep-split-points` on a folder of a few hundred pictures, with no number given."""

import in_process
import numpy as np
import pytest
from checks import ended_well
from PIL import Image
from typer.testing import CliRunner

from bench.cli import app
from bench.point import data_notes, recipe
from splitlab.record import RecordStore

CLASSES = ("apples", "boats", "cranes")
DEFAULTS = {"train": 4000, "auxiliary": 2000, "validation": 128, "victims": 128}
QUICK = ["--splits=1", "--set=decoder.epochs=1", "--set=rmle.steps=2", "--set=rmle.tv=0"]
QUICK += ["--set=rmle.start=mean"]


def folder(place, count):
    """Noisy pictures, one colour a class."""
    source = np.random.default_rng(0)
    for number in range(count):
        kind = number % len(CLASSES)
        pixels = source.normal(60, 30, (20, 24, 3))
        pixels[..., kind] += 90
        path = place / CLASSES[kind] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    return f"--dataset=imagefolder:{place}"


@pytest.fixture
def words(tmp_path, request):
    run = f"--out={tmp_path / 'run'}"
    words = ["sweep-split-points", run, folder(tmp_path / "photos", request.param)]
    return [*words, "--model=tiny_cnn", "--device=cpu"]


def check(words, run):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{done.output[-2000:]}\n{done.exception!r}"
    there = data_notes.kept(run)["images"]
    for part, default in DEFAULTS.items():
        assert there[part] < default
        assert f"data: {there[part]} {part} images are all there are (default --" in done.stderr
    config = recipe.load(run / "config.toml")
    assert (config.train_images, config.queries) == (there["train"], there["auxiliary"])
    assert (config.validation_images, config.victims) == (there["validation"], there["victims"])
    records = {record.config["attack"]: record for record in RecordStore(run).all()}
    assert records["decoder"].leakage["psnr"].items == there["victims"]
    assert records["decoder"].threat["observe"] == there["auxiliary"]
    assert records["rmle"].leakage["psnr"].items == min(8, there["victims"])
    page = (run / "report.html").read_text()
    assert f"{there['train']} train images are all there are (default --train-images 4000)" in page
    before = {path: path.stat().st_mtime_ns for path in run.glob("records/*")}
    ended_well(app, words)  # there is nothing left to do
    assert {path: path.stat().st_mtime_ns for path in run.glob("records/*")} == before
    return there


@pytest.mark.parametrize("words", [100], indirect=True)
def test_a_hundred_pictures(words, tmp_path, monkeypatch):
    in_process.stand_in(monkeypatch)
    there = check([*words, *QUICK, "--set=rmle.learning_rate=0.1"], tmp_path / "run")
    assert 95 <= sum(there.values()) <= 100
    more = CliRunner().invoke(app, [*words, *QUICK, f"--queries={there['auxiliary'] + 1}"])
    assert more.exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize("words", [100, 300], indirect=True)
def test_over_real_processes(words, tmp_path):
    """Every default, on six split points."""
    there = check(words, tmp_path / "run")
    assert len(RecordStore(tmp_path / "run").latencies()) == 1
    assert min(there.values()) >= 10
