"""`--dry-run` of every long command: a line and a table, nothing written, bad input refused."""

import re
import signal
import tempfile
from functools import partial

import pytest
import torch
from reproductions import NONE, Row, small
from typer.testing import CliRunner

from adversary.cli import app as adversary
from adversary.contract.grant import write_grant
from adversary.contract.threat import AuxImages, ThreatModel
from bench.cli import app as bench
from bench.options import run_folder
from bench.point import recipe
from bench.reproduce import cli
from bench.reproduce.frame.experiment import Claim, Measurement
from bench.reproduce.frame.run import Framed
from splitlab.capture import CaptureWriter
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data import load_splits
from splitlab.models import build
from splitlab.split import cut
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

MEAN = {"start": "mean", "steps": 2}
SMALL = Framed(
    lambda _scale: small(
        measurements=(
            Measurement("none/decoder", NONE, "decoder", {"epochs": 1}, frozenset({"observe"})),
            Measurement("none/rmle", NONE, "rmle", MEAN, frozenset({"head"}), limit=2),
        ),
        rows=(Row("none", "NONE", "decoder", ("none/decoder",)),),
        claims=(Claim("accuracy", "accuracy_change", "none", "at least", margin=-100.0),),
    )
)
LINE = r"{} {}, about \d+ (seconds|minutes|hours|days).*, about \d+\.\d GiB of memory"


def run(app, *words):
    return CliRunner().invoke(app, [str(word) for word in words])


def tree(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def told(app, *words, points, of, folder):
    """What a dry run prints; checks that it ends well and leaves `folder` as it was."""
    before = tree(folder)
    done = run(app, *words, "--dry-run")
    assert done.exit_code == 0, done.output
    assert tree(folder) == before
    text = " ".join(done.output.split())
    assert re.search(LINE.format(points, of), text), text
    assert "what seconds" in text
    assert "in all" in text
    return text


def refused(app, *words, folder):
    before = tree(folder)
    done = run(app, *words, "--dry-run")
    assert done.exit_code == 2, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert tree(folder) == before
    return " ".join(done.output.split())


TINY = ("--model", "tiny_cnn", "--train-images", "64", "--device", "cpu")


def test_a_sweep(tmp_path):
    words = ["sweep-split-points", "--out", tmp_path / "run", *TINY, "--queries", "32"]
    words += ["--victims", "8", "--splits", "block1,block3", "--link", "lte"]
    words += ["--attack", "mean-image", "--attack", "rmle"]
    text = told(bench, *words, points=4, of="points", folder=tmp_path)
    for what in ("training", "judge", "deployments", "processes", "capture", "scoring", "latency"):
        assert what in text
    assert "--splits" in refused(bench, *words, "--splits", "0", folder=tmp_path)


def test_an_error_of_a_dry_run_names_the_folder_that_was_given(tmp_path):
    out = tmp_path / "run"
    recipe.save(recipe.SweepConfig(model="tiny_cnn", train_images=65), out / "config.toml")
    words = ["sweep-split-points", "--out", out, *TINY]
    said = refused(bench, *words, folder=tmp_path)
    assert "run holds a run with train_images = 65" in said
    assert "splitlab-dry" not in said


def test_a_dry_run_that_is_ended_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = signal.getsignal(signal.SIGTERM)

    def ended():
        with run_folder(tmp_path / "run", dry=True) as place:
            (place / "kept").write_text("something")
            assert place.parent == tmp_path
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit):
        ended()
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGTERM) is before


def test_training(tmp_path):
    words = ["train", "--out", tmp_path / "made", *TINY, "--split", "block1"]
    text = told(bench, *words, points=1, of="deployment", folder=tmp_path)
    assert "training" in text
    assert "nosuch" in refused(bench, *words, "--split", "nosuch", folder=tmp_path)
    defended = [*words, "--tail-start", "pool", "--defense", "ensembler:N=2,P=1"]
    text = told(bench, *defended, points=1, of="deployment", folder=tmp_path)
    assert "training with" in text
    assert "--tail-start" in refused(
        bench, *words, "--defense", "ensembler:N=2,P=3", folder=tmp_path
    ) + refused(bench, *words, "--tail-start", "block1", folder=tmp_path)


def test_a_real_training_says_the_line_first(tmp_path):
    words = ["train", "--out", tmp_path / "made", *TINY, "--split", "block1", "--epochs", "0"]
    done = run(bench, *words)
    assert done.exit_code == 0, done.output
    assert re.search(LINE.format(1, "deployment"), " ".join(done.output.split()))
    assert done.output.index("1 deployment") < done.output.index("validation accuracy")
    assert (tmp_path / "made" / "client" / "deployment.json").exists()


def test_an_experiment_and_a_search_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "EXPERIMENTS", {"small": "test_dry_runs:SMALL"})
    words = ["reproduce", "small", "--out", tmp_path / "run", "--device", "cpu", "--seeds", "0,1"]
    text = told(bench, *words, points=4, of="points", folder=tmp_path)
    for what in ("training", "attack decoder", "attack rmle", "processes", "capture", "scoring"):
        assert what in text
    assert "--seeds" in refused(bench, *words, "--seeds", "x", folder=tmp_path)
    words = ["search", "small", "none/rmle", "--try", "steps=1,2,3", "--images", "3"]
    words += ["--out", tmp_path / "run", "--device", "cpu"]
    text = told(bench, *words, points=3, of="points", folder=tmp_path)
    assert "attack rmle" in text
    assert "scoring" in text
    assert "nosuch" in refused(bench, *words, "--try", "nosuch=1", folder=tmp_path)
    assert "--images" in refused(bench, *words, "--images", "9999", folder=tmp_path)


@pytest.fixture
def world(tmp_path):
    """A capture of 8 victims at a cut of a small network, and a grant of its head."""
    given = InputSpec(size=16)
    arch = ArchSpec(name="tiny_cnn", classes=4, input=given)
    splits = load_splits("photo-patches", size=16, limits={"auxiliary": 40, "validation": 8})
    head = cut(build(arch, seed=0).eval(), "block1", "pool", given.shape).head
    with torch.inference_mode():
        sent = head(splits.victims.floats("cpu")[:8]).clone()
    tap = CaptureWriter(tmp_path / "capture", "relay")
    message = Request("m", f"{'0' * 32}-0", tuple(encode(sent, "FP32"))).to_bytes()
    tap.record(tap.new_call(), "up", message, method=INFER, peer="ipv4:127.0.0.1:1")
    tap.close()
    threat = ThreatModel(
        arch=arch,
        head_end="block1",
        tail_start="pool",
        feature=FeatureSpec(shape=tuple(sent.shape[1:])),
        input=given,
        head=head,
        aux=AuxImages(splits.auxiliary, splits.validation, "same distribution"),
    )
    write_grant(tmp_path / "grant", threat)
    return tmp_path


def test_an_attack(world):
    words = ["attack", world / "capture", "--knows", world / "grant", "--out", world / "out"]
    words += ["--device", "cpu"]
    ends_well = partial(told, adversary, *words, points=8, of="reconstructions", folder=world)
    assert "attack decoder" in ends_well()
    assert "attack rmle" in ends_well("--attack", "rmle", "--set", "steps=5")
    assert "attack dci" in ends_well("--attack", "dci", "--set", "data=own")
    assert "nosuch" in refused(adversary, *words, "--attack", "nosuch", folder=world)
    assert "epochs" in refused(adversary, *words, "--set", "epochs=-1", folder=world)


def test_a_synthesis(world):
    words = ["synthesise", "--knows", world / "grant", "--out", world / "images", "--device", "cpu"]
    words += ["--count", "20", "--set", "batch_size=8", "--set", "classes=0"]
    text = told(adversary, *words, points=24, of="images", folder=world)
    assert "making images" in text
    assert "steps" in refused(adversary, *words, "--set", "steps=0", folder=world)
