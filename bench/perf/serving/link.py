"""`bench perf link`: what a simulated link says that a message takes, against the kernel's TCP.

Two network namespaces, joined by a cable in user space (`packet_relay.py`) that delays, slows and
loses packets and knows nothing of TCP; between them a plain socket, a message after another, each
answered with eight bytes. The simulated link is asked for the same messages.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.perf.serving.link_peer import ANSWER_BYTES
from bench.perf.verdict import judged
from edge_client.one_way import round_trips
from splitlab.contracts.link import Link, parse_link
from splitlab.errors import BadInput, SplitLabError

LIMIT = 0.85
"""The smaller of measured and predicted over the larger."""
DRAWS = 4000
SEED = 7
HERE = Path(__file__).parent
SERVER, CLIENT = "10.77.0.1", "10.77.0.2"


@dataclass(frozen=True)
class Case:
    """Messages of `size` bytes over `link`, `count` of them, `gap` s after each answer."""

    link: str
    size: int
    count: int = 30
    gap: float = 0.0

    @property
    def name(self) -> str:
        pause = f", {self.gap:g} s apart" if self.gap else ""
        return f"{self.link}: {self.size // 1024} KiB{pause}"


CASES = (
    Case("wifi", 64 << 10),
    Case("lte", 64 << 10),
    Case("5g", 64 << 10),
    Case("5g", 512 << 10),
    Case("5g", 64 << 10, 15, 0.6),
    Case("5g", 512 << 10, 15, 0.6),
    Case("rtt=50ms,up=10mbps,down=40mbps,loss=1%", 16 << 10, 250),
    Case("rtt=20ms,up=20mbps,down=20mbps,loss=3%", 16 << 10, 350),
)


@dataclass(frozen=True)
class Agreement:
    """ms of a message until its answer: means on a link that loses packets, else medians; and the
    first of a connection.
    """

    measured_ms: float
    predicted_ms: float
    measured_first_ms: float
    predicted_first_ms: float
    messages: int

    @property
    def ratio(self) -> float:
        """The smaller over the larger."""
        low, high = sorted((self.measured_ms, self.predicted_ms))
        return low / high

    def as_dict(self) -> dict[str, Any]:
        return judged(self, self.ratio, LIMIT)


def perf_link(cases: tuple[Case, ...] = CASES) -> dict[str, dict[str, Any]]:
    """Every case, by its name.

    Raises:
        BadInput: this machine makes no namespaces, or has no /dev/net/tun.
        SplitLabError: a process of it failed.
    """
    why = why_not()
    if why is not None:
        raise BadInput(f"bench perf link: {why}; run it as root on Linux with iproute2")
    return {case.name: agreement(case, _measured(case)).as_dict() for case in cases}


def why_not() -> str | None:
    """What is missing here, in words; None where nothing is."""
    if not Path("/dev/net/tun").exists():
        return "there is no /dev/net/tun here"
    if shutil.which("ip") is None:
        return "there is no `ip` here"
    if os.geteuid() != 0:
        return "network namespaces are root's to make"
    return None


def agreement(case: Case, measured: list[float]) -> Agreement:
    """Beside what was measured, in seconds, what the simulated link says."""
    link = parse_link(case.link)
    count = DRAWS if link.loss else len(measured)
    told = round_trips(link, case.size, ANSWER_BYTES, count, gap=case.gap)
    middle = statistics.fmean if link.loss else statistics.median
    return Agreement(
        measured_ms=1000 * middle(measured),
        predicted_ms=1000 * middle(told),
        measured_first_ms=1000 * measured[0],
        predicted_first_ms=1000 * told[0],
        messages=len(measured),
    )


def _measured(case: Case) -> list[float]:
    with contextlib.ExitStack() as stack:
        server, client = stack.enter_context(_hosts(parse_link(case.link)))
        peer = str(HERE / "link_peer.py")
        stack.enter_context(_process(*_inside(server), sys.executable, peer, "server", SERVER))
        words = (str(case.size), str(case.count), str(case.gap))
        told = _run(*_inside(client), sys.executable, peer, "client", SERVER, *words)
        found: list[float] = json.loads(told)
        return found


_numbers = itertools.count()


@contextlib.contextmanager
def _hosts(link: Link) -> Iterator[tuple[str, str]]:
    """Names of two namespaces with the link between them; they are gone with the context."""
    mark = f"{os.getpid() % 10000}{next(_numbers)}"
    names = (f"ls{mark}", f"lc{mark}")
    cables = (f"ts{mark}", f"tc{mark}")
    numbers = map(str, (link.rtt, link.up, link.down, link.loss, SEED))
    with contextlib.ExitStack() as stack:
        for name in names:
            _run("ip", "netns", "add", name)
            stack.callback(_run, "ip", "netns", "delete", name)
        relay = str(HERE / "packet_relay.py")
        stack.enter_context(_process(sys.executable, relay, *cables, *numbers))
        for name, cable, address in zip(names, cables, (SERVER, CLIENT), strict=True):
            _run("ip", "link", "set", cable, "netns", name)
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", cable)
            _run("ip", "-n", name, "link", "set", cable, "up")
            route = ("10.77.0.0/24", "dev", cable, "congctl", "cubic")
            _run("ip", "-n", name, "route", "change", *route)
        yield names


def _inside(namespace: str) -> tuple[str, ...]:
    return ("ip", "netns", "exec", namespace)


@contextlib.contextmanager
def _process(*words: str) -> Iterator[None]:
    """One that says when it is ready; it ends with the context."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SplitLabError(f"{' '.join(words)} ended before it was ready")
        yield
    finally:
        process.kill()
        process.communicate()


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SplitLabError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
