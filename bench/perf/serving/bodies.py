"""What Ensembler's N bodies cost in service: N = 10 against N = 1, over real processes.

Two servers stand on localhost, one with N bodies and one with one; an `edge-client` process sends
the same images to each in turns. Latency is of single images, the rate of larger requests. The
weights are untrained: time and bytes do not depend on them.

The limit is on the bodies alone, by the server's own clock: N of them may cost little more than N
times one. Of the whole request the ratio is a fact beside it; what N = 10 shares with N = 1 (head,
wire, tail) makes that one look good however slowly the bodies run.

Liu and Xiong (2024) promise next to no extra traffic. What goes up is the same; what comes down is
N outputs instead of one, and how much that is beside the feature depends on the network alone.
"""

from __future__ import annotations

import math
import os
import statistics
import tempfile
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from bench.roles.launch import ServerProcess, StartGate, run_edge_client
from defenses import parse
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import load_splits
from splitlab.deployment import Halves, Selector, write_deployment
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import cut, widen
from splitlab.storage import read_json

DATASET = "photo-patches"
DEARER = 1.1
"""Most that N bodies may cost, in times N x one body, by the server's own clock."""


@dataclass(frozen=True)
class ServingScene:
    """What is served, and how it is asked.

    Args:
        model, head_end, tail_start: network and its two split points.
        images: single images that give the latency, each round.
        batch: images of the requests that give the rate.
        rounds: how often each server is asked; the middle of the rounds counts.
        threads: of each server; the client has one.
    """

    model: str = "resnet18_cifar"
    head_end: str = "maxpool"
    tail_start: str = "avgpool"
    images: int = 128
    batch: int = 32
    rounds: int = 3
    threads: int = 1


FULL = ServingScene()
QUICK = ServingScene(model="resnet20", head_end="relu", images=64, rounds=1)


@dataclass(frozen=True)
class Cost:
    """Of one server: latency of one image in ms, rate in images/s, bytes per image.

    `bodies_ms` is the middle of the server's own figures for its bodies.
    """

    p50_ms: float
    p95_ms: float
    bodies_ms: float
    images_per_second: float
    payload_up: float
    payload_down: float
    framed_up: float
    framed_down: float

    @property
    def framed(self) -> float:
        return self.framed_up + self.framed_down


@dataclass(frozen=True)
class Serving:
    """What `perf_serving` found.

    Args:
        one, many: a server with one body, and one with N.
        output_bytes: of one body's output for one image.
    """

    scene: ServingScene
    bodies: int
    chosen: int
    output_bytes: int
    one: Cost
    many: Cost
    limit: float = 1 / DEARER

    @property
    def ratio(self) -> float:
        """N times the time of one body, over the time of N bodies."""
        return self.bodies * self.one.bodies_ms / self.many.bodies_ms

    @property
    def bytes_as_promised(self) -> bool:
        """The same up; N outputs down."""
        same_up = self.many.payload_up == self.one.payload_up
        return same_up and self.many.payload_down == self.bodies * self.output_bytes

    @property
    def ok(self) -> bool:
        return self.ratio >= self.limit and self.bytes_as_promised

    def as_dict(self) -> dict[str, Any]:
        flat: dict[str, Any] = {**asdict(self.scene), "bodies": self.bodies, "chosen": self.chosen}
        for name, cost in ((f"N={self.bodies}", self.many), ("N=1", self.one)):
            flat |= {f"{name} {key}": value for key, value in asdict(cost).items()}
        return {
            **flat,
            "bodies, N over N x 1": 1 / self.ratio,
            "at most": DEARER,
            "latency, N over 1": self.many.p50_ms / self.one.p50_ms,
            "images per second, 1 over N": self.one.images_per_second / self.many.images_per_second,
            "extra bytes, % of N=1's": 100 * (self.many.framed / self.one.framed - 1),
            "up the same and N outputs down": self.bytes_as_promised,
            "ratio": self.ratio,
            "limit": self.limit,
            "ok": self.ok,
        }


def perf_serving(bodies: int, chosen: int, scene: ServingScene) -> Serving:
    """Serve N bodies and one, and ask both in turns.

    Args:
        bodies: N.
        chosen: P.

    Raises:
        BadInput: P above N.
        UnknownName, NotCuttable: no such network or split point.
        SplitLabError: a process failed; the message ends with its words.
    """
    found: dict[int, list[Cost]] = {1: [], bodies: []}
    with tempfile.TemporaryDirectory(prefix="perf-serving-") as text:
        root = Path(text)
        sizes = {n: deploy(root / f"N{n}", n, min(n, chosen), scene) for n in found}
        log = root / "server.log"
        with (
            ServerProcess(root / "N1" / "server", None, log, scene.threads, fresh=True) as one,
            ServerProcess(
                root / f"N{bodies}" / "server", None, log, scene.threads, fresh=True
            ) as many,
        ):
            addresses = {1: one.address(), bodies: many.address()}
            for _ in range(scene.rounds):
                for number, costs in found.items():
                    half = root / f"N{number}" / "client"
                    costs.append(_ask(half, addresses[number], scene, root))
    middle = {
        n: Cost(*map(statistics.median, zip(*map(astuple, found[n]), strict=True))) for n in found
    }
    return Serving(
        scene=scene,
        bodies=bodies,
        chosen=chosen,
        output_bytes=sizes[1],
        one=middle[1],
        many=middle[bodies],
    )


def fair(scene: ServingScene) -> ServingScene:
    """The scene with as many threads for a server as this machine has beside the client's one."""
    return replace(scene, threads=max(1, (os.cpu_count() or 2) - 1))


def deploy(folder: Path, bodies: int, chosen: int, scene: ServingScene) -> int:
    """Write an untrained deployment; bytes of one body's output for one image."""
    classes = load_splits(DATASET, limits={"train": 1}).classes
    arch = ArchSpec(name=scene.model, classes=len(classes), input=InputSpec(size=32))
    every = [
        cut(build(arch, seed=i).eval(), scene.head_end, scene.tail_start, arch.input.shape)
        for i in range(bodies)
    ]
    parts = every[0]
    stack = parse("none")
    secret = Secret.new()
    halves = Halves(
        arch=arch,
        head_end=scene.head_end,
        tail_start=scene.tail_start,
        head=parts.head,
        bodies=tuple(one.body for one in every),
        tail=widen(parts.tail, chosen),
        protectors=stack.protectors(parts.head.output_shape, secret),
        selector=Selector(bodies, tuple(range(chosen))),
    )
    write_deployment(folder, halves, defended=stack, secret=secret, classes=classes)
    return 4 * math.prod(parts.body.output_shape)


def _ask(half: Path, address: str, scene: ServingScene, root: Path) -> Cost:
    """Latency of single images, then the rate of requests of `batch`."""
    accounts = []
    for batch, count in ((1, scene.images), (scene.batch, scene.images)):
        gate, out = StartGate(), root / "evaluation"
        gate.open()
        words = [str(half), "--server", address, "--threads", "1", "evaluate"]
        words += ["--dataset", DATASET, "--limit", str(count), "--batch", str(batch)]
        run_edge_client([*words, "--out", str(out)], root / "client.log", gate, fresh=True)
        accounts.append(read_json(out / "evaluation.json"))
    single, several = accounts
    total, rate = single["latency"]["total"], single["rate"]
    return Cost(
        p50_ms=total["p50"],
        p95_ms=total["p95"],
        bodies_ms=single["latency"]["bodies"]["p50"],
        images_per_second=several["images_per_second"],
        payload_up=rate["payload_up"],
        payload_down=rate["payload_down"],
        framed_up=rate["framed_up"],
        framed_down=rate["framed_down"],
    )
