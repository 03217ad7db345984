"""`bench perf serve`: a server under 1 to 16 clients that each send one image after another.

Rival: the same server that runs every request by itself (`--together 1`). The clients are threads
of this process with a connection each; what they cost is the same for both. The memory of the
server that runs requests together is watched in every turn; it may grow no further from where it
stood lowest, as what it holds only while it starts is no room to grow into later.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from bench.perf.serving.bodies import ServingScene
from bench.perf.serving.scenes import CallTimes, Deployed, deployed, pixels, told_of
from bench.perf.soak.server import GROWTH_MIB, resident_mib
from bench.perf.verdict import judged
from edge_client.client import EdgeClient

SCENE = ServingScene(model="resnet18_cifar")
CLIENTS = (1, 2, 4, 8, 16)
SAMPLES = 8
"""Of the server's memory, in each turn; turns are compared by their medians."""
LIMIT = 1.0
SLACK = 0.95
"""One client alone has nobody to go together with: there the two are the same, but for noise."""


@dataclass(frozen=True)
class Crowd:
    """A server under so many clients.

    Args:
        images_per_second: of all clients.
        request: latency of one image.
    """

    images_per_second: float
    request: CallTimes


@dataclass(frozen=True)
class Serve:
    """One number of clients, both servers.

    Args:
        resident_mib: of the server that runs requests together: the least median of any turn so
            far, this number's included, and the median of this number's last; None where the system
            does not tell.
        server: what the one that runs them together says of its engine, and what both were told
            about threads.
    """

    clients: int
    seconds: float
    together: Crowd
    apart: Crowd
    resident_mib: tuple[float, float] | None
    server: dict[str, Any] = field(default_factory=dict)

    @property
    def memory_is_flat(self) -> bool | None:
        """Whether it grew no more than `bench soak` allows, from where it stood lowest."""
        if self.resident_mib is None:
            return None
        least, last = self.resident_mib
        return last - least <= GROWTH_MIB

    def as_dict(self) -> dict[str, Any]:
        ratio = self.together.images_per_second / self.apart.images_per_second
        limit, flat = LIMIT if self.clients > 1 else SLACK, self.memory_is_flat
        return judged(self, ratio, limit, sound=flat is not False, memory_is_flat=flat)


def perf_serve(
    clients: tuple[int, ...] = CLIENTS,
    seconds: float = 8.0,
    scene: ServingScene = SCENE,
    bodies: int = 4,
) -> dict[str, dict[str, Any]]:
    """Measure every number of clients; by its name.

    Args:
        seconds: of each turn; there are two of each server, one after another.

    Raises:
        SplitLabError: a server did not start, or a request failed.
    """
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    memory: list[list[float]] = []  # MiB of each turn
    with (
        deployed(bodies, scene) as made,
        made.served(1, "--together", "32") as joint,
        made.served(1, "--together", "1") as single,
    ):
        addresses = joint.address(), single.address()
        for address in addresses:  # threads, windows and memory as under load
            _turn(made, address, max(clients), min(seconds, 2.0))

        def sample() -> None:
            mib = resident_mib(str(joint.pid))
            if mib is not None:
                memory[-1].append(mib)

        for number in clients:
            turns: dict[str, list[tuple[float, list[float]]]] = {a: [] for a in addresses}
            for _ in range(2):
                memory.append([])
                for address, watch in zip(addresses, (sample, None), strict=True):
                    turns[address].append(_turn(made, address, number, seconds, watch))
            together, apart = (_load(turns[address]) for address in addresses)
            medians = [statistics.median(turn) for turn in memory if turn]
            held = (min(medians), medians[-1]) if medians else None
            told = told_of(joint.said, 1)
            measured = Serve(number, seconds, together, apart, held, told)
            found[f"{number} clients"] = measured.as_dict()
    return found


def _load(turns: list[tuple[float, list[float]]]) -> Crowd:
    spent = sum(seconds for seconds, _ in turns)
    every = [one for _, seconds in turns for one in seconds]
    return Crowd(len(every) / spent, CallTimes.of(every))


def _turn(
    made: Deployed,
    address: str,
    number: int,
    seconds: float,
    sample: Callable[[], None] | None = None,
) -> tuple[float, list[float]]:
    """(seconds that it took, seconds of each request).

    Args:
        sample: is called `SAMPLES` times while the clients ask.
    """
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
        for _ in range(SAMPLES):
            over.wait(seconds / SAMPLES)
            if sample is not None:
                sample()
        over.set()
        times = [value for future in futures for value in future.result()]
        return time.perf_counter() - started, times
