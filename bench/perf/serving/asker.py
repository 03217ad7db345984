"""An edge client in a process of its own: `python -m bench.perf.serving.asker HALF HOST:PORT`.

Reads a number of images a line, asks, and answers with a line of JSON: seconds, milliseconds by
stage, logits. It waits passively: threads that spin after the head would slow the server down.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.roles.launch import command, thread_environment
from splitlab.errors import SplitLabError


class Asked(NamedTuple):
    """Seconds of a request, milliseconds by stage, and its logits [B, classes]."""

    seconds: float
    stages_ms: dict[str, float]
    logits: Tensor


class Asker:
    """The other end of that process's pipes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, batch: int) -> Asked:
        """One request of `batch` images.

        Raises:
            SplitLabError: the process ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SplitLabError("the client of this measurement ended; its words stand above")
        seconds, stages, logits = json.loads(line)
        return Asked(seconds, stages, torch.tensor(logits))


@contextlib.contextmanager
def asking(client: Path, address: str, threads: int) -> Iterator[Asker]:
    """A client process for a deployment's client half."""
    with subprocess.Popen(
        command("bench.perf.serving.asker", str(client), address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=thread_environment(threads),
        text=True,
    ) as process:
        yield Asker(process)


def main(client: Path, address: str) -> None:
    from bench.perf.serving.scenes import pixels
    from defenses import parse
    from edge_client.client import EdgeClient
    from splitlab.deployment import ClientHalf
    from splitlab.machine import settle

    half = ClientHalf.load(client, parse)
    settle()
    with EdgeClient(half, [address]) as edge:
        for line in sys.stdin:
            x = pixels(int(line))
            started = time.perf_counter()
            result = edge.infer(x)
            spent = time.perf_counter() - started
            stages = {stage: sum(values) for stage, values in result.latency.items()}
            print(json.dumps([spent, stages, result.logits.tolist()]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
