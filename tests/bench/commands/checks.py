"""One row: its command run in this process, and what has to have come of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import rows
import torch
from rows import Row
from torch import Tensor
from typer.testing import CliRunner

from adversary.cli import app as adversary
from bench.cli import app as bench
from bench.point.deploy import undefended
from cloud_server.cli import app as cloud_server
from splitlab.data import load_splits
from splitlab.deployment.equality import relative_error
from splitlab.record import RecordStore
from splitlab.storage import read_json, read_tensors

ERROR = {"FP32": 1e-5, "FP16": 0.01, "BF16": 0.1, "INT8": 0.5}
"""Of the logits where no defence acts, the largest difference over the largest value."""


class Roles(NamedTuple):
    """How the two roles are run.

    Args:
        serving: (server half, folder of its tap) -> HOST:PORT while it runs.
        edge_client: its words -> what it printed.
        engine: of `cloud-server --check`.
    """

    serving: Callable[[Path, Path], AbstractContextManager[str]]
    edge_client: Callable[[Sequence[str]], str]
    engine: str


def ended_well(app: Callable[..., object], words: Sequence[str]) -> str:
    """What a command printed on its standard output."""
    done = CliRunner().invoke(app, list(words))  # type: ignore[arg-type]
    assert done.exit_code == 0, f"{words}\n{done.output[-2000:]}\n{done.exception!r}"
    return str(done.stdout)


def check(row: Row, photos: Path, place: Path, roles: Roles) -> None:
    """
    Args:
        photos: folder of images.
        place: an empty folder.
    """
    if row["command"] == "sweep":
        _sweep(row, photos, place / "run")
        return
    deployment = place / "deployment"
    ended_well(bench, rows.train_words(row, photos, deployment))
    if row["command"] == "train":
        _answers(deployment, photos)
        return
    if row["command"] != "attack":
        _check(row, deployment, roles)
    _evaluate(row, photos, deployment, roles)
    if row["command"] != "evaluate":
        _attack(row, photos, deployment)


def _check(row: Row, deployment: Path, roles: Roles) -> None:
    """A server takes its half."""
    words = [str(deployment / "server"), "--check", f"--engine={roles.engine}"]
    told = json.loads(ended_well(cloud_server, words))
    assert told["event"] == "checked"
    assert told["wire"] == row["wire"]
    assert told["bodies"] == list(range(rows.BODIES.get(row["defence"], 1)))


def _answers(deployment: Path, photos: Path) -> Tensor:
    """Logits of the victims without wire and defence, as `edge-client evaluate` picks them."""
    victims = load_splits(f"imagefolder:{photos}", size=32, seed=0).victims.take(rows.VICTIMS, 0)
    logits = undefended(deployment, victims)
    assert logits.shape == (rows.VICTIMS, len(victims.classes))
    assert torch.isfinite(logits).all()
    return logits


def _evaluate(row: Row, photos: Path, deployment: Path, roles: Roles) -> None:
    """Through the wire; what was captured lies beside the deployment."""
    out, picture = deployment.parent / "evaluation", next(photos.rglob("*.png"))
    with roles.serving(deployment / "server", deployment.parent / "capture") as address:
        roles.edge_client(rows.evaluate_words(photos, deployment, address, out))
        if row["command"] != "attack":
            connected = [str(deployment / "client"), f"--server={address}"]
            told = roles.edge_client([*connected, "infer", str(picture), "--json"])
            assert 0 < json.loads(told)["images"][0]["probability"] <= 1
    logits = read_tensors(out / "logits.safetensors")["logits"]
    assert logits.shape == (rows.VICTIMS, 2)
    assert torch.isfinite(logits).all()
    if row["defence"] in rows.QUIET:
        assert relative_error(logits, _answers(deployment, photos)) <= ERROR[row["wire"]]
    assert read_json(out / "evaluation.json")["images"] == rows.VICTIMS


def _attack(row: Row, photos: Path, deployment: Path) -> None:
    """By someone who is given the capture and a grant."""
    place = deployment.parent
    grant, out = place / "grant", place / "estimate"
    ended_well(bench, rows.grant_words(row, photos, deployment, grant))
    ended_well(adversary, rows.attack_words(row, place / "capture", grant, out))
    made = read_tensors(out / "reconstructions.safetensors")
    victims = set(read_json(place / "evaluation" / "join.json")["rows"])
    assert len(victims) == rows.VICTIMS
    assert victims <= set(made)
    others = int(row["command"] != "attack")  # the picture that `infer` was asked about
    images = torch.stack(list(made.values()))
    assert images.shape == (rows.VICTIMS + others, 3, 32, 32)
    assert images.min() >= 0
    assert images.max() <= 1


def _sweep(row: Row, photos: Path, run: Path) -> None:
    """Every record that there should be, and right."""
    told = ended_well(bench, rows.sweep_words(row, photos, run))
    assert "Recommended split point" in told
    records = RecordStore(run).all()
    kinds = ["undefended"] if row["defence"] == "none" else ["adaptive", "unaware"]
    assert sorted(record.config["knowledge"] for record in records) == kinds
    for record in records:
        assert record.config["wire"] == row["wire"]
        assert record.leakage["psnr"].items == rows.VICTIMS
        assert 0 <= record.utility["accuracy_whole"] <= 100
        if row["defence"] in rows.QUIET:
            assert record.utility["relative_error"] <= ERROR[row["wire"]]
