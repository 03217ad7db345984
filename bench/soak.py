"""`bench soak`: clients that never stop, a server that is killed, a cable that is cut, a full disk.

Every answer is compared with the network's own, computed beside it. What counts: no wrong answer,
and memory at the end as at the start.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import defenses
from bench.launch import thread_environment
from bench.unreliable import Cable
from edge_client.client import EdgeClient
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.errors import BadInput, SplitLabError
from splitlab.machine import environment
from splitlab.randomness import FreeDraw

TOLERANCE = 1e-4
"""Of the largest logit; the engine may fold batch norms."""
REQUEST_IMAGES = 5
Event = str
EVENTS: tuple[Event, ...] = ("kill", "cut")


@dataclass
class Account:
    """What clients saw and what was done to them.

    Args:
        failed: class of error -> requests.
        memory_mib: of each server process, when it listened and before its end.
        tap: of the last server: frames that were kept, and those that had no room.
    """

    sent: int = 0
    answered: int = 0
    wrong: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    memory_mib: list[tuple[float, float]] = field(default_factory=list)
    tap: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def passed(self) -> bool:
        return self.answered > 0 and self.wrong == 0


class Soak:
    """
    Args:
        deployment: folder with client/ and server/; its client must draw nothing, so that every
            answer is known.
        seconds: how long; or until `requests` were sent, whichever comes first.
        clients: side by side.
        pause: seconds between two events, on average.
        disk: a folder on a small disk for the server's tap, or None for no tap.
        seed: of events and images.

    Raises:
        BadInput: a defence that draws, or a wire that rounds.
    """

    def __init__(
        self,
        deployment: Path,
        *,
        seconds: float,
        requests: int | None = None,
        clients: int = 4,
        pause: float = 5.0,
        disk: Path | None = None,
        seed: int = 0,
    ) -> None:
        self.half = ClientHalf.load(deployment / "client", defenses.parse)
        if defenses.parse(self.half.manifest.defense).stochastic or self.half.wire != "FP32":
            raise BadInput(
                f"{deployment} has defence {self.half.manifest.defense!r} and wire "
                f"{self.half.wire}; soak a deployment whose answers are known, without noise and "
                "with wire FP32"
            )
        self._deployment, self._seconds, self._requests = deployment, seconds, requests
        self._clients, self._pause, self._disk = clients, pause, disk
        self._draw = random.Random(seed)
        self.account = Account()
        self._over = threading.Event()
        shape = self.half.input.shape
        self._images = torch.rand(64, *shape, generator=torch.Generator().manual_seed(seed))
        self._truth = self._known()

    def run(self) -> dict[str, Any]:
        """Until it is over; the account as JSON."""
        started = time.monotonic()
        server = _Server(self._deployment, self._disk)
        cable = Cable(server.port)
        threads = [
            threading.Thread(target=self._ask, args=(number, cable.address), daemon=True)
            for number in range(self._clients)
        ]
        own = _memory_mib("self")
        try:
            for thread in threads:
                thread.start()
            while not self._over.wait(self._draw.expovariate(1 / self._pause)):
                if time.monotonic() - started > self._seconds:
                    break
                server = self._happen(self._draw.choice(EVENTS), server, cable)
            self._over.set()
            for thread in threads:
                thread.join()
        finally:
            self._over.set()
            cable.mend()
            self.account.memory_mib.append(server.stop())
            self.account.tap = server.tap
            cable.close()
        return self._told(time.monotonic() - started, own)

    def _happen(self, event: Event, server: _Server, cable: Cable) -> _Server:
        self.account.events[event] += 1
        if event == "cut":
            cable.cut()
            self._over.wait(self._draw.uniform(0.1, 1.0))
            cable.mend()
            return server
        self.account.memory_mib.append(server.kill())
        return _Server(self._deployment, self._disk, server.port)

    def _ask(self, number: int, address: str) -> None:
        """One client, request after request."""
        draw = random.Random(number)
        account = self.account
        with EdgeClient(self.half, [address], retries=3, deadline_s=10.0) as client:
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
                    continue
                apart = float((logits - self._truth[rows]).abs().max())
                with account.lock:
                    account.answered += 1
                    account.wrong += apart > TOLERANCE * float(self._truth.abs().max())

    @torch.inference_mode()
    def _known(self) -> Tensor:
        """Logits of all images, computed without a wire."""
        half, draw = self.half, FreeDraw(torch.Generator())
        bodies = ServerHalf.load(self._deployment / "server").bodies
        feature = half.protect(half.head(self._images), draw)
        answer: Tensor = half.tail(half.select([body(feature) for body in bodies], draw))
        return answer

    def _told(self, seconds: float, own: float) -> dict[str, Any]:
        account = self.account
        return {
            "format": "splitlab/soak/1",
            "seconds": round(seconds, 1),
            "clients": self._clients,
            "images_of_a_request": REQUEST_IMAGES,
            "sent": account.sent,
            "answered": account.answered,
            "failed": dict(account.failed),
            "wrong": account.wrong,
            "events": dict(account.events),
            "tap": account.tap,
            "server_memory_mib": [[round(a, 1), round(b, 1)] for a, b in account.memory_mib],
            "client_memory_mib": [round(own, 1), round(_memory_mib("self"), 1)],
            "passed": account.passed,
            "environment": environment(),
        }


class _Server:
    """A `cloud-server` process."""

    def __init__(self, deployment: Path, disk: Path | None, port: int = 0) -> None:
        words = ["--listen", f"127.0.0.1:{port}", "--max-peer-calls", "512", "--engine", "plain"]
        if disk is not None:
            for old in disk.glob("*"):
                old.unlink()
            words += ["--tap", str(disk)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cloud_server", str(deployment / "server"), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=thread_environment(1),
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SplitLabError(
                "cloud-server ended before it listened; start it by hand to see why"
            )
        self.port = int(json.loads(line)["port"])
        self.tap: dict[str, int] = {}
        self._early = _memory_mib(str(self._process.pid))

    def kill(self) -> tuple[float, float]:
        """SIGKILL; MiB after its start and now."""
        return self._end(signal.SIGKILL)

    def stop(self) -> tuple[float, float]:
        """SIGTERM; MiB after its start and now."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> tuple[float, float]:
        late = _memory_mib(str(self._process.pid))
        self._process.send_signal(number)
        said, _ = self._process.communicate(timeout=60)
        if said:  # by a server that was stopped in order
            self.tap = json.loads(said.splitlines()[-1]).get("tap", {})
        return self._early, late


def _memory_mib(process: str) -> float:
    """Resident memory; 0 where the system does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else 0.0
