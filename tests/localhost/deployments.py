"""Tiny real deployments and image folders on disk, for tests with real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from bench.roles.launch import start
from defenses import parse
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.deployment import Halves, Selector, write_deployment
from splitlab.models import Normalised, build
from splitlab.randomness import Secret
from splitlab.split import cut, widen
from splitlab.thread_share import thread_share

CLASSES = ("cats", "dogs")
ARCH = ArchSpec(name="tiny_cnn", classes=len(CLASSES), input=InputSpec(size=16))


def network() -> Normalised:
    return build(ARCH, seed=5).eval()


def deploy(
    folder: Path,
    *,
    defense: str = "none",
    wire: str = "FP32",
    bodies: int = 1,
    chosen: tuple[int, ...] = (0,),
) -> Path:
    """Write a deployment of `network()`, cut after its first block; tail from its pool on.

    Its body is body 0; further ones are other networks'.
    """
    parts = cut(network(), "block1.2", "pool", ARCH.input.shape)
    others = (build(ARCH, seed=5 + i).eval() for i in range(1, bodies))
    more = [cut(net, "block1.2", "pool", ARCH.input.shape).body for net in others]
    defended, secret = parse(defense), Secret.new(3)
    halves = Halves(
        arch=ARCH,
        head_end="block1.2",
        tail_start="pool",
        head=parts.head,
        bodies=(parts.body, *more),
        tail=widen(parts.tail, len(chosen)),
        protectors=defended.protectors((8, 16, 16), secret),
        selector=Selector(bodies, chosen),
    )
    write_deployment(folder, halves, defended=defended, secret=secret, classes=CLASSES, wire=wire)
    return folder


def pictures(folder: Path, each: int = 10) -> Path:
    """A folder of PNG files: train/ and test/, two classes."""
    source = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
            for number in range(each):
                pixels = source.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / name / f"{number}.png")
    return folder


def environment() -> dict[str, str]:
    """One thread: several torch processes share few cores."""
    return {**os.environ, **thread_share(1)}


class Process:
    """A role's process that prints JSON lines; leaving the block sends SIGTERM and waits.

    Args:
        words: of Python's command line.
        fresh: no fork of a process that has loaded torch; code given by -c never is one.
    """

    def __init__(self, *words: str, fresh: bool = False) -> None:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        if words[0] == "-m":
            self._process = start(words[1:], fresh=fresh, **streams)
        else:
            words = (sys.executable, *words)
            self._process = subprocess.Popen(words, env=environment(), **streams)
        self.stopped: dict[str, Any] = {}

    def listening(self) -> dict[str, Any]:
        """The line that says that it listens."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        event: dict[str, Any] = json.loads(line)
        assert event["event"] == "listening"
        return event

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def finish(self) -> tuple[int, str]:
        """SIGTERM, wait; (exit code, standard error)."""
        if self._process.poll() is None:
            self.terminate()
        out, err = self._process.communicate(timeout=600)
        if out:
            self.stopped = json.loads(out.splitlines()[-1])
        return self._process.returncode, err

    def ended(self) -> tuple[str, str, int]:
        """Wait for its own end; (standard output, standard error, exit code)."""
        out, err = self._process.communicate(timeout=600)
        return out, err, self._process.returncode

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
