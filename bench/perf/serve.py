"""`bench perf serve`: a server under 1 to 16 clients that each send one image after another.

Rival: the same server that runs every request by itself (`--together 1`). The clients are threads
of this process with a connection each; what they cost is the same for both.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.perf.scenes import Deployed, Times, deployed, pixels, resident_mib
from bench.perf.serving import Scene
from edge_client.client import EdgeClient

SCENE = Scene(model="resnet18_cifar")
CLIENTS = (1, 2, 4, 8, 16)
FLAT = 1.10
"""Most that the server's memory may grow between the first turn of a number of clients and the end,
in times what it was."""
LIMIT = 1.0
SLACK = 0.95
"""One client alone has nobody to go together with: there the two are the same, but for noise."""


@dataclass(frozen=True)
class Load:
    """A server under so many clients.

    Args:
        images_per_second: of all clients.
        request: latency of one image.
    """

    images_per_second: float
    request: Times


@dataclass(frozen=True)
class Serve:
    """One number of clients, both servers."""

    clients: int
    seconds: float
    together: Load
    apart: Load
    resident_mib: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        ratio = self.together.images_per_second / self.apart.images_per_second
        before, after = self.resident_mib
        limit = LIMIT if self.clients > 1 else SLACK
        flat = after <= FLAT * before
        return {
            **asdict(self),
            "memory_is_flat": flat,
            "ratio": ratio,
            "limit": limit,
            "ok": ratio >= limit and flat,
        }


def perf_serve(
    clients: tuple[int, ...] = CLIENTS, seconds: float = 8.0, scene: Scene = SCENE, bodies: int = 4
) -> dict[str, dict[str, Any]]:
    """Measure every number of clients; by its name.

    Args:
        seconds: of each turn; there are two of each server, one after another.

    Raises:
        SplitLabError: a server did not start, or a request failed.
    """
    torch.set_num_threads(1)
    found = {}
    with (
        deployed(bodies, scene) as made,
        made.served(1, "--together", "32") as joint,
        made.served(1, "--together", "1") as single,
    ):
        addresses = joint.address(), single.address()
        for address in addresses:  # threads, windows and memory as under load
            _turn(made, address, max(clients), min(seconds, 2.0))
        before = resident_mib(joint.pid)
        for number in clients:
            turns: dict[str, list[tuple[float, list[float]]]] = {a: [] for a in addresses}
            for _ in range(2):
                for address in addresses:
                    turns[address].append(_turn(made, address, number, seconds))
            together, apart = (_load(turns[address]) for address in addresses)
            measured = Serve(number, seconds, together, apart, (before, resident_mib(joint.pid)))
            found[f"{number} clients"] = measured.as_dict()
    return found


def _load(turns: list[tuple[float, list[float]]]) -> Load:
    spent = sum(seconds for seconds, _ in turns)
    every = [one for _, seconds in turns for one in seconds]
    return Load(len(every) / spent, Times.of(every))


def _turn(made: Deployed, address: str, number: int, seconds: float) -> tuple[float, list[float]]:
    """(seconds that it took, seconds of each request)."""
    x = pixels(1)
    ready, over = threading.Barrier(number + 1), threading.Event()

    def one() -> list[float]:
        found: list[float] = []
        with EdgeClient(made.client, [address]) as client:
            client.infer(x)
            ready.wait()
            while not over.is_set():
                started = time.perf_counter()
                client.infer(x)
                found.append(time.perf_counter() - started)
        return found

    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(one) for _ in range(number)]
        ready.wait()
        started = time.perf_counter()
        over.wait(seconds)
        over.set()
        times = [value for future in futures for value in future.result()]
        return time.perf_counter() - started, times
