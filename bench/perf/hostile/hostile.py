"""`bench perf hostile`: a server that strangers attack while an honest client asks it.

Every attack meets a server process of its own. The strangers (`hostile_peers`) come from four
addresses, the client from another, on the same machine: what they cost each other in cores is in
the numbers. The rival is the same client left alone. The server must live, answer the client
rightly and at least once in every second, and afterwards hold no more memory than `bench soak` lets
it have above what it held after a first short turn of the same attack.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from prometheus_client.parser import text_string_to_metric_families
from torch import Tensor

from bench.perf.hostile.peers import HOSTILE_PEERS, SOURCES
from bench.perf.hostile.raw_http2 import Sent
from bench.perf.hostile.row import Hostile, Resident, Treatment
from bench.perf.serving.bodies import ServingScene
from bench.perf.serving.scenes import CallTimes, Deployed, deployed, pixels, told_of
from bench.perf.soak.server import WARM_ANSWERS, resident_mib
from bench.roles.launch import ServerProcess, command, thread_environment
from edge_client.client import EdgeClient
from splitlab.errors import SplitLabError

SCENE = ServingScene(model="tiny_cnn", head_end="block1", tail_start="block3")
ALONE = "no attack"
IMAGES = 8
"""Asked one by one in turns; each has an answer of its own."""
TOLERANCE = 1e-4
SAMPLE_SECONDS = 0.05
FIRST_SECONDS = 3.0
"""Of the attack, before it is measured: a server keeps the threads that its first crowd started."""
SETTLE_SECONDS = 3.0
"""After the strangers are gone: calls end, buffers are given back."""
LATE_SECONDS = 60.0
"""For the strangers' process to end, beyond the time that it was given."""
LABELS = {"refusals": "reason", "calls": "code"}
"""Of the server's metrics."""
PAUSE_SECONDS = 0.05
"""After a request that failed."""


def perf_hostile(
    seconds: float = 10.0,
    scene: ServingScene = SCENE,
    attacks: Sequence[str] = tuple(HOSTILE_PEERS),
) -> dict[str, dict[str, Any]]:
    """Measure a server without attack and under each; by its name. `ratio` is the share of seconds
    in which the client got an answer, and 0 where the server died, was wrong or kept memory.

    Args:
        seconds: of each attack.

    Raises:
        SplitLabError: a server did not start, did not answer before the attack, or the strangers
            failed.
    """
    torch.set_num_threads(1)
    found: dict[str, dict[str, Any]] = {}
    alone: CallTimes | None = None
    with deployed(1, scene) as made:
        for name in (ALONE, *attacks):
            with made.served(1, "--metrics", "127.0.0.1:0") as server:
                row = _under(name, made, server, seconds, alone)
            alone = alone or row.times
            found[name] = row.as_dict()
    return found


def _under(
    name: str, made: Deployed, server: ServerProcess, seconds: float, alone: CallTimes | None
) -> Hostile:
    """One attack on a fresh server."""
    address, pid = server.address(), str(server.pid)
    images = questions()
    wanted = [whole(made, x) for x in images]
    over = threading.Event()
    with EdgeClient(made.client, [address]) as client, ThreadPoolExecutor(1) as pool:
        for number in range(WARM_ANSWERS):
            client.infer(images[number % IMAGES])
        fresh = resident_mib(pid)
        if name != ALONE:
            _sent(_strangers(name, address, min(seconds, FIRST_SECONDS)))
        before, counted = resident_mib(pid), counts(server)
        strangers = None if name == ALONE else _strangers(name, address, seconds)
        started = time.monotonic()
        asking = pool.submit(ask, client, images, wanted, over)
        try:
            peak = _watch(pid, seconds)
            lasted = time.monotonic() - started
            sent = _sent(strangers)
        finally:
            over.set()
            if strangers is not None:
                strangers.kill()
        asked = asking.result()
        peak = max(peak, _watch(pid, min(seconds, SETTLE_SECONDS)))
        after = resident_mib(pid)
        told = counts(server) if server.alive else counted
        last = ask(client, images[:1], wanted[:1], over) if server.alive else Treatment()
    memory = None
    if fresh is not None and before is not None and after is not None:
        memory = Resident(fresh, before, max(peak, after), after)
    return Hostile(
        seconds=lasted,
        sent=sent,
        refused=dict(told["refusals"] - counted["refusals"]),
        calls=dict(told["calls"] - counted["calls"]),
        asked=asked,
        memory=memory,
        alive=server.alive and len(last.seconds) == 1 and not last.wrong,
        alone=alone,
        server=told_of(server.said, 1),
    )


def questions() -> list[Tensor]:
    """`IMAGES` images [1, 3, H, W] in [0, 1], the last the brightest."""
    return [(number + 1) / IMAGES * pixels(1) for number in range(IMAGES)]


def whole(made: Deployed, x: Tensor) -> Tensor:
    """Logits [B, classes] of the network in one piece."""
    with torch.inference_mode():
        logits: Tensor = made.client.tail(made.server.bodies[0](made.client.head(x)))
    return logits


def ask(
    client: EdgeClient, images: Sequence[Tensor], wanted: Sequence[Tensor], over: threading.Event
) -> Treatment:
    """Ask one image after another until it is over, once at least."""
    asked, started = Treatment(), time.monotonic()
    while True:
        turn = len(asked.at) % len(images)
        begun = time.monotonic()
        try:
            logits = client.infer(images[turn]).logits
        except SplitLabError as error:
            asked.failed[type(error).__name__] += 1
            asked.first_failure = asked.first_failure or str(error)
            over.wait(PAUSE_SECONDS)
        else:
            ended = time.monotonic()
            asked.at.append(ended - started)
            asked.seconds.append(ended - begun)
            off = float((logits - wanted[turn]).abs().max() / wanted[turn].abs().max())
            asked.wrong += not off <= TOLERANCE
        if over.is_set():
            return asked


def counts(server: ServerProcess) -> dict[str, Counter[str]]:
    """What the server counted so far: refusals by reason, ended calls by code."""
    url = f"http://127.0.0.1:{server.said['metrics_port']}/metrics"
    with urllib.request.urlopen(url, timeout=LATE_SECONDS) as answer:
        return counts_of(answer.read().decode())


def counts_of(text: str) -> dict[str, Counter[str]]:
    """The same, from the text that Prometheus reads."""
    found: dict[str, Counter[str]] = {name: Counter() for name in LABELS}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, label in LABELS.items():
                if sample.name == f"splitlab_{name}_total":
                    found[name][sample.labels[label]] += int(sample.value)
    return found


def _watch(pid: str, seconds: float) -> float:
    """Most MiB that a process held within so long; 0 where the system does not tell."""
    until, peak = time.monotonic() + seconds, 0.0
    while time.monotonic() < until:
        peak = max(peak, resident_mib(pid) or 0.0)
        time.sleep(SAMPLE_SECONDS)
    return peak


def _strangers(name: str, address: str, seconds: float) -> subprocess.Popen[str]:
    """Their process, once it begins."""
    host, _, port = address.rpartition(":")
    words = command("bench.perf.hostile.peers", name, host, port, str(seconds))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=thread_environment(1))
    assert process.stdout is not None
    process.stdout.readline()
    return process


def _sent(strangers: subprocess.Popen[str] | None) -> Sent:
    """What they sent, when they are done.

    Raises:
        SplitLabError: they failed, or reached nobody.
    """
    if strangers is None:
        return Sent()
    said, _ = strangers.communicate(timeout=LATE_SECONDS)
    if strangers.returncode != 0:
        raise SplitLabError(f"the strangers ended with {strangers.returncode}; see above")
    sent = Sent(**json.loads(said))
    if not sent.connections:
        raise SplitLabError(
            f"no connection from {SOURCES[0]} came up, so that nothing was attacked; "
            "run it where all of 127.0.0.0/8 is this machine, as on Linux"
        )
    return sent
