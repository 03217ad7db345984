"""What the serving benchmarks share: an untrained deployment, its two sides, and timing."""

from __future__ import annotations

import contextlib
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bench.latency.asker import asking
from bench.perf.serving.bodies import ServingScene, deploy
from bench.roles.launch import ServerProcess
from defenses import parse
from edge_client.stages import TOTAL
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.thread_share import thread_share


@dataclass(frozen=True)
class CallTimes:
    """Seconds of single turns, summed up in ms."""

    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> CallTimes:
        ordered = sorted(seconds)
        late = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.95, 0.99))
        return cls(statistics.median(ordered) * 1000, *(seconds * 1000 for seconds in late))


class Asked(NamedTuple):
    """Seconds of a request, ms by stage summed over its micro-batches, its logits [B, classes]."""

    seconds: float
    stages_ms: dict[str, float]
    logits: torch.Tensor


@dataclass(frozen=True)
class Deployed:
    """A deployment on disk and its two halves in memory."""

    client: ClientHalf
    server: ServerHalf
    folder: Path

    @contextlib.contextmanager
    def served(self, threads: int, *more: str) -> Iterator[ServerProcess]:
        """A `cloud-server` process for it."""
        log = self.folder / "server.log"
        with ServerProcess(self.folder / "server", None, log, threads, more, fresh=True) as server:
            yield server

    @contextlib.contextmanager
    def asked(self, address: str, threads: int) -> Iterator[Callable[[int], Asked]]:
        """A client process of it, which asks the server there about so many of `pixels`.

        It waits passively: threads that spin after the head would slow the server down.
        """
        with asking(self.folder / "client.log", threads, fresh=True) as asker:
            half = str(self.folder / "client")
            asker.do(open="it", half=half, server=address, link=None)

            def ask(images: int) -> Asked:
                told = asker.do(ask="it", images=images, whole=True)
                seconds = told["ms"][TOTAL] / 1000
                return Asked(seconds, told["summed"], torch.tensor(told["logits"]))

            yield ask


@contextlib.contextmanager
def deployed(bodies: int, scene: ServingScene) -> Iterator[Deployed]:
    """N untrained bodies of the scene's network; times do not depend on weights."""
    with tempfile.TemporaryDirectory(prefix="perf-") as text:
        folder = Path(text)
        deploy(folder, bodies, 1, scene)
        server = ServerHalf.load(folder / "server")
        yield Deployed(ClientHalf.load(folder / "client", parse), server, folder)


def cores() -> int:
    """Cores of this machine."""
    return os.cpu_count() or 1


def pixels(rows: int) -> torch.Tensor:
    """Images [rows, 3, 32, 32] in [0, 1], those that a client process asks for."""
    return torch.rand(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def told_of(said: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """What a server says of its engine, and what its process was told about threads."""
    own = {name: said[name] for name in ("engine", "arranged", "engines_ms") if name in said}
    return {**own, **thread_share(threads)}
