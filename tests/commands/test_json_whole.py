"""`--json` of what takes long: every document parses, alone on standard output, with its keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from every import ROLES, ROOT
from PIL import Image
from test_json import DRY_KEYS, KEYS, ROW_KEYS

pytestmark = pytest.mark.slow
SMALL = ("--model", "tiny_cnn", "--train-images", "64", "--epochs", "1")


class Lab:
    """A folder in which commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def words(self, role: str, *words: str) -> list[str]:
        return [sys.executable, "-m", ROLES[role].removesuffix(".cli"), *words]

    def run(self, role: str, *words: str) -> Any:
        """The document that a command prints."""
        done = subprocess.run(
            self.words(role, *words, "--json"),
            cwd=self.folder,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """With a deployment."""
    made = Lab(tmp_path_factory.mktemp("lab"))
    Image.new("RGB", (40, 30), (200, 80, 20)).save(made.folder / "photo.png")
    words = ("train", *SMALL, "--split", "block1", "--out", "deployment")
    assert set(made.run("bench", *words, "--dry-run")) == DRY_KEYS
    assert not (made.folder / "deployment").exists()
    found = made.run("bench", *words)
    assert tuple(found) == KEYS["bench train"]
    assert (made.folder / found["client"] / "deployment.json").exists()
    return made


@pytest.fixture(scope="module")
def address(lab: Lab) -> Iterator[str]:
    """Of a server that keeps what passes."""
    words = lab.words("cloud-server", "deployment/server", "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [*words, "--tap", "capture"], cwd=lab.folder, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        yield f"127.0.0.1:{told['port']}"
        server.terminate()
        server.communicate()


def test_a_client_and_an_adversary(lab: Lab, address: str) -> None:
    client = ("deployment/client", "--server", address)
    found = lab.run("edge-client", *client, "infer", "photo.png")
    assert tuple(found) == KEYS["edge-client infer"]
    assert found["images"][0]["image"] == "photo.png"
    sent = ("evaluate", "--dataset", "photo-patches", "--limit", "8")
    found = lab.run("edge-client", *client, *sent)
    assert set(found) == set(KEYS["edge-client evaluate"])
    assert found["images"] == 8
    grant = ("grant", "deployment", "--head", "--observe", "32", "--aux", "32", "--out", "grant")
    assert tuple(lab.run("bench", *grant)) == KEYS["bench grant"]
    attack = ("attack", "capture", "--knows", "grant", "--attack", "decoder:epochs=1")
    assert set(lab.run("adversary", *attack, "--out", "dry", "--dry-run")) == DRY_KEYS
    found = lab.run("adversary", *attack, "--out", "estimate", "--fitted", "fitted")
    assert set(found) == {*KEYS["adversary attack"], "taken", "kept"}
    assert found["reconstructions"] == 9
    assert found["kept"]
    words = ("synthesise", "--knows", "grant", "--count", "8", "--out", "synthetic")
    found = lab.run("adversary", *words, "--preset", "lab:steps=2,batch_size=8")
    assert tuple(found) == KEYS["adversary synthesise"]
    assert found["images"] == 8


def test_a_sweep(lab: Lab) -> None:
    words = ("sweep-split-points", *SMALL, "--splits", "block1", "--victims", "8", "--out", "run")
    words = (*words, "--queries", "32", "--attack", "decoder:epochs=1", "--attack", "mean-image")
    assert set(lab.run("bench", *words, "--dry-run")) == DRY_KEYS
    found = lab.run("bench", *words)
    assert tuple(found) == KEYS["bench sweep-split-points"]
    assert [row["attack"] for row in found["rows"]] == ["decoder", "mean-image"]
    assert set(found["rows"][0]) - {"wire", "seed"} == ROW_KEYS
    assert lab.run("bench", "report", "run") == found


def test_a_speed(lab: Lab) -> None:
    words = ("perf", "train", "--model", "tiny_cnn", "--out", "speed.json", "--json")
    done = subprocess.run(
        lab.words("bench", *words), cwd=lab.folder, capture_output=True, text=True
    )
    found = json.loads(done.stdout)  # whether it meets its limit is another test's
    kept = json.loads((lab.folder / "speed.json").read_text())
    assert found == {key: value for key, value in kept.items() if key != "environment"}
