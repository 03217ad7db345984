"""`bench train` with each defence, with a tail on the client or none, on networks of each kind.

What the sweep asks of a deployment next is asked here too. Pairwise in the fast suite, the whole
product, over real processes, in the slow one.
"""

import itertools

import pytest
import torch
from deployments import pictures
from typer.testing import CliRunner

import bench.sweep
from bench.cli import app
from bench.deploy import undefended, whole
from splitlab.data import load_splits
from splitlab.record import RecordStore

NETWORKS = {
    "tiny_cnn": ("block1", "block3"),
    "tiny_vit": ("layers.0", "norm"),
    "resnet20": ("layer1.2", "layer3.0"),
    "squeezenet1_1": ("features.0", "features.12"),
    "mobilenet_v2": ("features.1", "features.18"),
    "mobilenet_v3_small": ("features.0", "features.12"),
}
"""Network -> where its head ends, and its body where there is a tail."""
DEFENCES = (
    "none",
    "gaussian:level=0.1,draw=fixed+dropout:level=0.2",
    "single",
    "output-dropout:level=0.2",
    "shredder",
    "random-head",
    "ensembler:N=2,P=2",
    "ensembler:N=3,P=2",
    "dropout-ensemble:N=2",
)
PRODUCT = list(itertools.product(NETWORKS, DEFENCES, (False, True)))
SMALL = ["--size=32", "--train-images=16", "--epochs=1", "--device=cpu"]
ADAPTED = {"ensembler:N=2,P=2", "ensembler:N=3,P=2"}
"""Defences whose tail, where the network leaves none to the client, is an adapter."""
WANT_TAIL = {"output-dropout:level=0.2", "dropout-ensemble:N=2"}
"""Defences that act between bodies and tail: without one they are refused before any training."""


def pairwise():
    """Each defence with and without a tail, and on small networks of either kind,."""
    rows = [("tiny_cnn", defence, tail) for tail in (False, True) for defence in DEFENCES]
    fast = [row for n, row in enumerate(rows) if n % 2 == 0 or row[1] in ADAPTED]
    return [(("tiny_cnn", "tiny_vit")[n % 2], *row[1:]) for n, row in enumerate(fast)]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of 2 classes, whose splits have enough for all that is asked here."""
    return pictures(tmp_path_factory.mktemp("photos"), each=16)


def ended_well(words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{done.output[-2000:]}\n{done.exception!r}"
    return done


def refused(words, out):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert "give --tail-start" in done.output
    assert not out.exists() or not any(out.iterdir())


def check_train(photos, out, network, defence, tail):
    head, end = NETWORKS[network]
    words = ["train", f"--out={out}", f"--dataset=imagefolder:{photos}", f"--model={network}"]
    more = [f"--split={head}", f"--defense={defence}", *([f"--tail-start={end}"] if tail else [])]
    words += [*more, *SMALL, "--train-images=8"]
    if defence in WANT_TAIL and not tail:
        refused(words, out)
        return
    ended_well(words)
    assert whole(out)
    victims = load_splits(f"imagefolder:{photos}", size=32, seed=0).victims
    logits = undefended(out, victims)
    assert logits.shape == (len(victims), len(victims.classes))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("network", "defence", "tail"), pairwise())
def test_train_pairwise(photos, tmp_path, network, defence, tail):
    check_train(photos, tmp_path / "out", network, defence, tail)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "defence", "tail"), PRODUCT)
def test_train_whole_product(photos, tmp_path, network, defence, tail):
    check_train(photos, tmp_path / "out", network, defence, tail)


def swept(out, network, defence, tail):
    head, end = NETWORKS[network]
    words = ["sweep-split-points", f"--out={out}", f"--model={network}", f"--splits={head}"]
    more = [f"--defense={defence}", *([f"--tail-start={end}"] if tail else [])]
    return [*words, *more, "--queries=16", "--victims=8", "--attack=mean-image", *SMALL]


@pytest.mark.slow
def test_a_sweep_that_ended_after_its_training_continues(tmp_path, monkeypatch):
    """Deployed, then a traceback, as where a tail was an adapter; nothing is trained again."""
    words = swept(tmp_path, "tiny_cnn", "ensembler:N=2,P=2", tail=False)

    def breaks(*_):
        raise RuntimeError("Setting requires_grad=True on inference tensor")

    with monkeypatch.context() as patch:
        patch.setattr(bench.sweep, "undefended", breaks)
        assert isinstance(CliRunner().invoke(app, words).exception, RuntimeError)
    kept = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("points/*/deployment/*/*.safe*")
    }
    assert kept
    ended_well(words)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    records = RecordStore(tmp_path).all()
    assert {record.config["knowledge"] for record in records} == {"adaptive", "unaware"}
    assert all(record.utility["accuracy_whole"] >= 0 for record in records)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "defence", "tail"), PRODUCT)
def test_sweep_whole_product(tmp_path, network, defence, tail):
    words = swept(tmp_path, network, defence, tail)
    if defence in WANT_TAIL and not tail:
        refused(words, tmp_path)
        return
    ended_well(words)
    assert RecordStore(tmp_path).all()
