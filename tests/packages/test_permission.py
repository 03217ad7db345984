"""A defence of another package in a file: client, grant and adversary want its module named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made import on_path, package
from typer.testing import CliRunner

import defenses
from adversary.contract.grant import read_grant, write_grant
from adversary.contract.threat import ThreatModel
from bench.cli import app as bench
from defenses.parts.prepare import prepare
from defenses.parts.testing import small_order
from edge_client.cli import app as edge_client
from splitlab.contracts import FeatureSpec, own_code
from splitlab.deployment import write_deployment
from splitlab.errors import NotImported
from splitlab.training import TrainRecipe

CODE = """
from typing import ClassVar
from splitlab.contracts import Defense, Protector


class Half(Protector):
    def forward(self, feature, draw):
        return 0.5 * feature


class Halved(Defense):
    name: ClassVar[str] = "halved"
    source: ClassVar[str] = "a test"

    def protector(self, feature_shape, secret):
        return Half()
"""
POINTS = {"splitlab.defenses": {"halved": "lab_halved.method:Halved"}}
FILES = {"lab_halved/__init__.py": "", "lab_halved/method.py": CODE}


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Halves on disk whose defence is another package's, and a process that has not heard of it."""
    on_path(monkeypatch, package(tmp_path / "site", "lab-halved", POINTS, FILES))
    stack = defenses.parse("halved")
    order = small_order(recipe=TrainRecipe(epochs=1, batch_size=16))
    folder = tmp_path / "deployment"
    secret, classes = order.secret, order.images.classes
    write_deployment(folder, prepare(stack, order), defended=stack, secret=secret, classes=classes)
    own_code._permitted.clear()
    for name in ("lab_halved", "lab_halved.method"):
        monkeypatch.delitem(sys.modules, name)
    return folder


def told(app: object, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(words))  # type: ignore[arg-type]
    assert "Traceback" not in done.output
    return done.exit_code, " ".join(done.output.split())


def test_a_client_imports_it_where_it_is_told(deployment: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.png").touch()
    half = (str(deployment / "client"), "--server", "localhost:1", "--retries", "0")
    ask = ("infer", str(tmp_path / "photo.png"))
    code, words = told(edge_client, *half, *ask)
    assert code == 2
    assert "the defence is halved (lab_halved.method:Halved) of lab-halved 1.2.3" in words
    assert "if you trust it, add --import lab_halved.method" in words
    assert "lab_halved" not in sys.modules
    code, words = told(edge_client, *half, "--import", "lab_halved.method", *ask)
    assert "--import" not in words
    assert "lab_halved.method" in sys.modules


def test_a_grant_of_it_too(deployment: Path, tmp_path: Path) -> None:
    out = tmp_path / "grant"
    words = ("grant", str(deployment), "--head", "--defense", "--dataset=photo-patches")
    code, shown = told(bench, *words, f"--out={out}")
    assert code == 2
    assert "add --import lab_halved.method" in shown
    assert not out.exists()
    write_grant(out, ThreatModel(defense="halved", feature=FeatureSpec(shape=(4,))))
    with pytest.raises(NotImported, match=r"add --import lab_halved.method"):
        read_grant(out)
    own_code.permit("lab_halved.method")
    assert read_grant(out).defense == "halved"


@pytest.mark.slow
def test_a_sweep_tells_the_processes_that_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With client and server as processes of their own, and a network of the package as well."""
    import os
    import subprocess

    from splitlab.record import RecordStore

    net = (
        "\nimport torch\n\ndef net(num_classes=10):\n    from torch import nn\n"
        "    first = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())\n"
        "    return nn.Sequential(first, nn.AdaptiveAvgPool2d(4), nn.Flatten(),\n"
        "                         nn.Linear(128, num_classes))\n"
    )
    points = {**POINTS, "splitlab.models": {"tinier": "lab_halved.method:net"}}
    files = {**FILES, "lab_halved/method.py": CODE + net}
    site = package(tmp_path / "site", "lab-halved", points, files)
    monkeypatch.chdir(tmp_path)
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(root)])}
    words = (
        *("sweep-split-points", "--model=tinier", "--defense=halved", "--splits=1"),
        *("--epochs=1", "--train-images=64", "--queries=48", "--validation=16", "--victims=24"),
        *("--attack=decoder", "--device=cpu", "--out=run", "--set=decoder.epochs=1"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for record in RecordStore(tmp_path / "run").all():
        assert list(record.config["packages"]) == ["defense halved", "model tinier"]
        assert record.config["packages"]["defense halved"].startswith("lab-halved 1.2.3, code ")
        assert record.config["model"] == "lab_halved.method:net"
        assert record.leakage["psnr"].mean > record.floor["psnr"].mean
