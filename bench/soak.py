"""`bench soak`: clients that never stop, a server that is killed, a cable that is cut, a full disk.

Every answer is compared with the network's own, computed beside it, and every request is accounted
for. What counts: no wrong answer, no request that ended otherwise than in an answer or an error of
ours, no client that hangs, no server that ended by itself, and memory at the end as at the start. A
server that is killed every few seconds shows nothing of its memory; with `cut` alone one server
lives through it all.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import defenses
from bench.soak_server import GROWTH_MIB, SAMPLE_SECONDS, SELF, Memory, Server
from bench.unreliable import Cable
from cloud_server.engines.choose import check_name
from edge_client.client import EdgeClient
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput, SplitLabError
from splitlab.machine import environment
from splitlab.randomness import FreeDraw

TOLERANCE = 1e-4
"""Of the largest logit; the engine may fold batch norms."""
REQUEST_IMAGES = 5
DEADLINE_S = 10.0
LATE_S = 20.0
"""Seconds beyond the deadline that a client has to end in: attempts anew, and their pauses."""
Event = str
EVENTS: tuple[Event, ...] = ("kill", "cut")


@dataclass
class Account:
    """What clients saw and what was done to them.

    Args:
        wrong: of those answered: other rows than were asked for, NaN, or further from the truth
            than `TOLERANCE`.
        failed: class of our error -> requests.
        crashed: any other error, in words -> requests, or clients that ended with it.
        hung: clients that did not end within `DEADLINE_S` and `LATE_S` when it was over.
        died: servers that ended by themselves, or not when they were told to.
        servers: memory of each server process, in turn.
        client: memory of this process.
        tap: of the last server: frames that were kept, and those that had no room.
    """

    sent: int = 0
    answered: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    crashed: Counter[str] = field(default_factory=Counter)
    hung: int = 0
    died: int = 0
    events: Counter[str] = field(default_factory=Counter)
    servers: list[Memory] = field(default_factory=list)
    client: Memory = field(default_factory=lambda: Memory(SELF))
    tap: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def complaints(self) -> list[str]:
        """Why the run did not pass, in words; empty where it did."""
        failed, crashed = self.failed.total(), self.crashed.total()
        grown = max(m.growth or 0.0 for m in (*self.servers, self.client))
        found = {
            "no request was answered": not self.answered,
            f"{self.wrong} answers were wrong": self.wrong,
            f"{crashed} crashes: {', '.join(self.crashed)}": crashed,
            f"{self.sent} requests were sent, {self.answered} answered, {failed} failed and "
            f"{crashed} crashed; the rest is lost": self.sent != self.answered + failed + crashed,
            f"{self.hung} clients did not end": self.hung,
            f"{self.died} servers ended by themselves": self.died,
            f"memory grew by {grown:.0f} MiB, {GROWTH_MIB:g} are allowed": grown > GROWTH_MIB,
        }
        return [words for words, so in found.items() if so]

    @property
    def passed(self) -> bool:
        return not self.complaints


def parse_events(text: str) -> tuple[Event, ...]:
    """`kill,cut` or one of them.

    Raises:
        BadInput: anything else.
    """
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not set(found) <= set(EVENTS):
        raise BadInput(f"--events {text!r}: give {','.join(EVENTS)} or one of them")
    return found


class Soak:
    """
    Args:
        deployment: folder with client/ and server/; its client must draw nothing, so that every
            answer is known.
        seconds: how long; or until `requests` were sent, whichever comes first.
        clients: side by side.
        events: that happen; without `kill` one server lives through all of it.
        engine: of the server.
        pause: seconds between two events, on average.
        disk: a folder on a small disk for the server's tap, or None for no tap.
        seed: of events and images.

    Raises:
        BadInput: a defence that draws, a wire that rounds, or no such engine.
    """

    def __init__(
        self,
        deployment: Path,
        *,
        seconds: float,
        requests: int | None = None,
        clients: int = 4,
        events: tuple[Event, ...] = EVENTS,
        engine: str = "torch",
        pause: float = 5.0,
        disk: Path | None = None,
        seed: int = 0,
    ) -> None:
        check_name(engine)
        self.half = ClientHalf.load(deployment / "client", defenses.parse)
        if defenses.parse(self.half.manifest.defense).stochastic or self.half.wire != "FP32":
            raise BadInput(
                f"{deployment} has defence {self.half.manifest.defense!r} and wire "
                f"{self.half.wire}; soak a deployment whose answers are known, without noise and "
                "with wire FP32"
            )
        self._deployment, self._seconds, self._requests = deployment, seconds, requests
        self._clients, self._pause, self._disk = clients, pause, disk
        self._events, self._engine = events, engine
        self._draw = random.Random(seed)
        self.account = Account()
        self._over = threading.Event()
        shape = self.half.input.shape
        self._images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(seed))
        self._truth = self._known()

    def run(self) -> dict[str, Any]:
        """Until it is over; the account as JSON."""
        self._started = time.monotonic()
        server = self._serve()
        cable = Cable(server.port)
        threads = [
            threading.Thread(target=self._ask, args=(number, cable.address), daemon=True)
            for number in range(self._clients)
        ]
        try:
            for thread in threads:
                thread.start()
            while self._quiet(server, self._draw.expovariate(1 / self._pause)):
                server = self._happen(self._draw.choice(self._events), server, cable)
            self._over.set()
            self.account.hung = _hung(threads, DEADLINE_S + LATE_S)
            self._sample(server, last=True)
        finally:
            self._over.set()
            cable.mend()
            self.account.died += not server.stop()
            self.account.tap = server.tap
            cable.close()
        return self._told(server.engine)

    def _serve(self, port: int = 0) -> Server:
        server = Server(
            self._deployment, self._engine, self._disk, port, answers=self.account.answered
        )
        self.account.servers.append(server.memory)
        return server

    def _quiet(self, server: Server, pause: float) -> bool:
        """Watch memory until the next event is due; False where the run is over instead."""
        end = self._started + self._seconds
        until = min(time.monotonic() + pause, end)
        while not self._over.wait(max(0.0, min(SAMPLE_SECONDS, until - time.monotonic()))):
            self._sample(server)
            if time.monotonic() >= until:
                return until < end
        return False

    def _sample(self, server: Server, *, last: bool = False) -> None:
        now, answered = time.monotonic() - self._started, self.account.answered
        for memory in (server.memory, self.account.client):
            memory.sample(now, answered, last=last)

    def _happen(self, event: Event, server: Server, cable: Cable) -> Server:
        self.account.events[event] += 1
        if event == "cut":
            cable.cut()
            self._over.wait(self._draw.uniform(0.1, 1.0))
            cable.mend()
            return server
        self.account.died += not server.kill()
        return self._serve(server.port)

    def _ask(self, number: int, address: str) -> None:
        """One client, request after request."""
        try:
            with EdgeClient(self.half, [address], retries=3, deadline_s=DEADLINE_S) as client:
                self._ask_on(client, random.Random(number))
        except Exception as error:  # a client that ends is told of, not missed
            self._crashed(error)

    def _ask_on(self, client: EdgeClient, draw: random.Random) -> None:
        account = self.account
        while not self._over.is_set():
            rows = draw.sample(range(len(self._images)), REQUEST_IMAGES)
            with account.lock:
                if self._requests is not None and account.sent >= self._requests:
                    self._over.set()
                    return
                account.sent += 1
            try:
                logits = client.infer(self._images[rows]).logits
            except SplitLabError as error:
                with account.lock:
                    account.failed[type(error).__name__] += 1
            except Exception as error:
                self._crashed(error)
            else:
                right = self._right(logits, self._truth[rows])
                with account.lock:
                    account.answered += 1
                    account.wrong += not right

    def _crashed(self, error: Exception) -> None:
        with self.account.lock:
            self.account.crashed[f"{type(error).__name__}: {error}"] += 1

    def _right(self, logits: Tensor, wanted: Tensor) -> bool:
        """Whether every row is there and what it should be; NaN is not."""
        if logits.shape != wanted.shape:
            return False
        apart = float((logits - wanted).abs().max())
        return apart <= TOLERANCE * float(self._truth.abs().max())

    @torch.inference_mode()
    def _known(self) -> Tensor:
        """Logits of all images, computed without a wire."""
        half, draw = self.half, FreeDraw(torch.Generator())
        bodies = ServerHalf.load(self._deployment / "server").bodies
        feature = half.protect(half.head(self._images), draw)
        answer: Tensor = half.tail(half.select([body(feature) for body in bodies], draw))
        return answer

    def _told(self, engine: str) -> dict[str, Any]:
        account = self.account
        return {
            "format": "splitlab/soak/2",
            "seconds": round(time.monotonic() - self._started, 1),
            "clients": self._clients,
            "images_of_a_request": REQUEST_IMAGES,
            "engine": engine,
            "sent": account.sent,
            "answered": account.answered,
            "failed": dict(account.failed),
            "crashed": dict(account.crashed),
            "wrong": account.wrong,
            "hung": account.hung,
            "died": account.died,
            "events": dict(account.events),
            "tap": account.tap,
            "server_memory": [memory.as_dict() for memory in account.servers],
            "client_memory": account.client.as_dict(),
            "growth_limit_mib": GROWTH_MIB,
            "complaints": account.complaints,
            "passed": account.passed,
            "environment": environment(),
        }


def _hung(threads: Sequence[threading.Thread], seconds: float) -> int:
    """How many have not ended after so many seconds."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return sum(thread.is_alive() for thread in threads)
