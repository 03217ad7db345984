"""`bench soak`: clients that never stop, a server that is killed, a cable that is cut, a full disk.

Every answer is compared with the network's own, computed beside it, and every request is accounted
for. What counts: no wrong answer, no request that ended otherwise than in an answer or in the error
that says that the server is away while it is, most of them in an answer, no client that hangs, no
server that ended by itself, and memory at the end as where it settled. A server that is killed
every few seconds shows nothing of its memory, so that kills come first and the last server lives to
the end, through cuts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import defenses
from bench.perf.soak.account import LEAST_ANSWERED, Account
from bench.perf.soak.server import SAMPLE_SECONDS, Server
from bench.perf.soak.unreliable import Cable
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
KILLED_FOR = 0.4
"""Of the time; of the ten minutes that are the default, six are left to judge memory by."""


def parse_events(text: str) -> tuple[Event, ...]:
    """`kill,cut` or one of them.

    Raises:
        BadInput: anything else.
    """
    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not set(found) <= set(EVENTS):
        raise BadInput(f"--events {text!r}: give {','.join(EVENTS)} or one of them")
    return found


@dataclass(eq=False)
class Soak:
    """
    Args:
        deployment: folder with client/ and server/; its client must draw nothing, so that every
            answer is known.
        seconds: how long; or until `requests` were sent, whichever comes first.
        clients: side by side.
        log: file for what servers say on standard error, one after another; made anew.
        events: that happen; without `kill` one server lives through all of it.
        killed_for: share of the time in which the server may be killed; the last one lives on.
        least: share of the requests that must be answered.
        engine: of the server.
        pause: seconds between two events, on average.
        disk: a folder on a small disk for the server's tap, or None for no tap.
        seed: of events and images.

    Raises:
        BadInput: a defence that draws, a wire that rounds, or no such engine.
    """

    deployment: Path
    _: KW_ONLY
    seconds: float
    log: Path
    requests: int | None = None
    clients: int = 4
    events: tuple[Event, ...] = EVENTS
    killed_for: float = KILLED_FOR
    least: float = LEAST_ANSWERED
    engine: str = "torch"
    pause: float = 5.0
    disk: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_name(self.engine)
        self.half = ClientHalf.load(self.deployment / "client", defenses.parse_file)
        if defenses.parse(self.half.manifest.defense).stochastic or self.half.wire != "FP32":
            raise BadInput(
                f"{self.deployment} has defence {self.half.manifest.defense!r} and wire "
                f"{self.half.wire}; soak a deployment whose answers are known, without noise and "
                "with wire FP32"
            )
        self._draw = random.Random(self.seed)
        self.account = Account(least=self.least)
        self._over = threading.Event()
        shape = self.half.input.shape
        self._images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(self.seed))
        self._truth = self._known()

    def run(self) -> dict[str, Any]:
        """Until it is over; the account as JSON."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        server = self._serve()
        self._started = time.monotonic()  # what a server takes to start is no time of the soak
        cable = Cable(server.port)
        threads = [
            threading.Thread(target=self._ask, args=(number, cable.address), daemon=True)
            for number in range(self.clients)
        ]
        try:
            for thread in threads:
                thread.start()
            while self._quiet(server, self._draw.expovariate(1 / self.pause)):
                if due := self.due(time.monotonic() - self._started):
                    server = self._happen(self._draw.choice(due), server, cable)
            self._over.set()
            self.account.hung = _hung(threads, DEADLINE_S + LATE_S)
            self._sample(server, last=True)
        finally:
            self._over.set()
            cable.mend()
            self._ended(server, server.stop())
            cable.stop()
        return self._told(server.engine)

    def due(self, seconds: float) -> tuple[Event, ...]:
        """Events that may happen so many seconds after the start; at first each kind in turn."""
        kills = seconds < self.killed_for * self.seconds
        due = tuple(event for event in self.events if kills or event != "kill")
        return tuple(event for event in due if not self.account.events[event])[:1] or due

    def _serve(self, port: int = 0) -> Server:
        server = Server(
            self.deployment,
            self.engine,
            self.disk,
            self.log,
            port,
            answers=self.account.answered,
        )
        self.account.servers.append(server.memory)
        return server

    def _quiet(self, server: Server, pause: float) -> bool:
        """Watch memory until the next event is due; False where the run is over instead."""
        end = self._started + self.seconds
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
        self.account.begin(event, time.monotonic())
        if event == "cut":
            cable.cut()
            self._over.wait(self._draw.uniform(0.1, 1.0))
            cable.mend()
        else:
            self._ended(server, server.kill())
            server = self._serve(server.port)
        self.account.end(time.monotonic())
        return server

    def _ended(self, server: Server, in_order: bool) -> None:
        self.account.died += not in_order
        if server.tap is not None:
            self.account.taps.append(server.tap)

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
                if self.requests is not None and account.sent >= self.requests:
                    self._over.set()
                    return
                account.sent += 1
            begun = time.monotonic()
            try:
                logits = client.infer(self._images[rows]).logits
            except SplitLabError as error:
                account.fail(type(error).__name__, begun, time.monotonic())
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
        bodies = ServerHalf.load(self.deployment / "server").bodies
        feature = half.protect(half.head(self._images), draw)
        answer: Tensor = half.tail(half.select([body(feature) for body in bodies], draw))
        return answer

    def _told(self, engine: str) -> dict[str, Any]:
        return {
            "format": "splitlab/soak/3",
            "seconds": round(time.monotonic() - self._started, 1),
            "clients": self.clients,
            "images_of_a_request": REQUEST_IMAGES,
            "engine": engine,
            "killed_for": self.killed_for,
            "server_log": self.log.name,
            **self.account.as_dict(),
            "environment": environment(),
        }


def _hung(threads: Sequence[threading.Thread], seconds: float) -> int:
    """How many have not ended after so many seconds."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return sum(thread.is_alive() for thread in threads)
