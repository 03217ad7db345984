"""Two machines and an eavesdropper, as the pages say it: their commands, run on this machine.

What is changed is said in `here`: addresses, and what makes it short.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from handbook import ROLES, ROOT, simple
from PIL import Image

pytestmark = pytest.mark.slow
SHORT = {
    ("bench", "train"): "--epochs 1 --train-images 200",
    ("bench", "grant", "--observe"): "--observe 64",
    ("edge-client", "evaluate"): "--limit 16",
    ("adversary", "attack", "decoder"): "--set epochs=1",
    ("adversary", "attack", "psim"): "--set epochs=1",
    ("adversary", "synthesise"): "--count 16 --set steps=2",
}


def line(page: str, start: str) -> list[str]:
    """The first command of a page that begins like this."""
    text = re.sub(r"\\\n\s*", "", (ROOT / page).read_text())
    found = next(one for one in text.splitlines() if one.startswith(start))
    return simple(found)[0]


class Walk:
    """A folder in which commands run, one after another, beside those that stay."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, int] = {}
        self.staying: list[subprocess.Popen[str]] = []

    def here(self, words: list[str]) -> list[str]:
        """Port 0 in place of one to listen at, loopback in place of a host, and shorter work."""
        listens = "--listen" in words
        ready = [words[0]]
        for before, word in pairwise(words):
            if before == "--listen":
                word = "127.0.0.1:0"
            elif found := re.fullmatch(r"SERVER:(\d+)", word):
                word = f"127.0.0.1:{self.ports[found[1]]}"
            ready.append(word)
        short = next((more for key, more in SHORT.items() if {*key} <= {*words}), "")
        python = [sys.executable, "-m", ROLES[words[0]].removesuffix(".cli")]
        return [*python, *ready[1:], *([] if listens else shlex.split(short))]

    def run(self, words: list[str]) -> str:
        done = subprocess.run(
            self.here(words), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def stay(self, words: list[str]) -> subprocess.Popen[str]:
        """Start what listens, and wait until it does."""
        process = subprocess.Popen(
            self.here(words), cwd=self.folder, stdout=subprocess.PIPE, text=True
        )
        self.staying.append(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["event"] == "listening"
        asked = words[words.index("--listen") + 1].rpartition(":")[2]
        self.ports[asked] = told["port"]
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        process.terminate()
        process.communicate()
        self.staying.remove(process)

    def stop(self) -> None:
        for process in reversed(list(self.staying)):
            self.end(process)


@pytest.fixture
def walk(tmp_path: Path) -> Iterator[Walk]:
    Image.new("RGB", (40, 30), (200, 80, 20)).save(tmp_path / "photo.jpg")
    made = Walk(tmp_path)
    yield made
    made.stop()


def test_two_machines_and_an_eavesdropper(walk: Walk) -> None:
    walk.run(line("docs/deploy.md", "bench train"))
    walk.stay(line("docs/deploy.md", "cloud-server deployment/server --listen"))
    asked = line(
        "docs/deploy.md", "edge-client deployment/client --server SERVER:50051 --insecure i"
    )
    assert "photo.jpg" in walk.run(asked)
    evaluate = line(
        "docs/deploy.md", "edge-client deployment/client --server SERVER:50051 --insecure e"
    )
    through = [word.replace("SERVER:50051", "SERVER:50052") for word in evaluate]
    for relay, record in (("adversary tap --listen", "capture"), ("adversary tap --raw", "sizes")):
        tap = walk.stay(line("docs/attacks.md", relay))
        walk.run(through)
        walk.end(tap)
        assert any((walk.folder / record).iterdir())
    for start in (
        "bench grant deployment --observe",
        "adversary attack capture --knows grant --attack decoder --out",
        "adversary attack capture --knows grant --attack decoder --fitted",
        "bench grant deployment --head",
        "adversary synthesise",
        "adversary attack capture --knows grant-head",
    ):
        walk.run(line("docs/attacks.md", start))
    for folder in ("reconstructions", "reconstructions-kept", "data-free"):
        assert (walk.folder / folder / "reconstructions.safetensors").is_file()
