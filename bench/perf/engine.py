"""`bench perf engine`: N ResNet-18 bodies behind the whole server against a plain Python loop.

The loop runs the modules in eval mode in this process, with all cores. Each engine runs in a server
of its own that is asked over gRPC; beside the whole request stands what the server says its bodies
took. Every body has weights of its own: a compiler must not find out that two are the same.
"""

from __future__ import annotations

import importlib.util
from dataclasses import asdict, dataclass
from typing import Any

import torch

from bench.perf.scenes import Deployed, Times, cores, deployed, in_turns, pixels
from bench.perf.serving import Scene
from edge_client.client import EdgeClient
from splitlab.randomness import KeyedDraw

SCENE = Scene()
"""ResNet-18 with a CIFAR stem, cut behind it: features [64, 16, 16], 11 million weights a body."""
NUMBERS = (1, 4, 10)
BATCHES = (1, 32)
ENGINES = {
    "torch": (),
    "onnxruntime": ("--engine", "onnxruntime"),
    "openvino": ("--engine", "openvino"),
    "openvino bfloat16": ("--engine", "openvino", "--bfloat16"),
}
WANTED = {
    (10, 1): {"torch": 1.8, "onnxruntime": 3.2, "openvino": 3.9, "openvino bfloat16": 7.0},
    (10, 32): {"openvino": 1.1, "openvino bfloat16": 2.1},
}
"""Times the loop's speed that the server is to reach on two cores, by (bodies, batch)."""
TOLERANCE = 1e-4
ROUNDS = {1: 40, 32: 7}


@dataclass(frozen=True)
class EngineSpeed:
    """One engine, number of bodies and batch.

    Args:
        loop: the plain loop alone, without head, wire and tail.
        request: the whole request: head, wire, bodies, wire, selector and tail.
        bodies_ms: of it, by the server's clock.
        error: max|delta| / max|y| of the logits against those of the loop's outputs.
    """

    engine: str
    bodies: int
    batch: int
    threads: int
    rounds: int
    loop: Times
    request: Times
    bodies_ms: float
    error: float
    wanted: float

    def as_dict(self) -> dict[str, Any]:
        ratio = self.loop.p50_ms / self.request.p50_ms
        exact = "bfloat16" in self.engine or self.error <= TOLERANCE
        return {
            **asdict(self),
            "bodies_alone": self.loop.p50_ms / self.bodies_ms,
            "ratio": ratio,
            "limit": self.wanted,
            "ok": ratio >= self.wanted and exact,
        }


def perf_engine(numbers: tuple[int, ...] = NUMBERS, scene: Scene = SCENE) -> dict[str, Any]:
    """Measure every engine that is installed, by bodies, batch and engine.

    Raises:
        SplitLabError: a server did not start.
    """
    found: dict[str, Any] = {}
    torch.set_num_threads(cores())
    for number in numbers:
        with deployed(number, scene) as made:
            for engine, words in ENGINES.items():
                package = engine.split()[0]
                if importlib.util.find_spec(package) is None:
                    continue
                for speed in _measure(made, engine, words):
                    found[f"N = {number}, batch {speed.batch}, {engine}"] = speed.as_dict()
    return found


def _measure(made: Deployed, engine: str, words: tuple[str, ...]) -> list[EngineSpeed]:
    number = len(made.server.bodies)
    draw = KeyedDraw(made.client.secret, "0" * 32, 0)
    found = []
    with (
        made.served(cores(), *words) as server,
        EdgeClient(made.client, [server.address()]) as client,
    ):
        for batch in BATCHES:
            x = pixels(batch)
            with torch.inference_mode():
                feature = made.client.head(x)
            bodies_ms: list[float] = []

            def asked(x: torch.Tensor = x, bodies_ms: list[float] = bodies_ms) -> torch.Tensor:
                result = client.infer(x)
                bodies_ms.append(sum(result.latency["bodies"]))
                return result.logits

            def loop(feature: torch.Tensor = feature) -> list[torch.Tensor]:
                with torch.inference_mode():
                    return [body(feature) for body in made.server.bodies]

            seconds = in_turns({"loop": loop, "request": asked}, ROUNDS[batch])
            with torch.inference_mode():
                wanted = made.client.tail(made.client.select(loop(), draw))
            error = float((asked() - wanted).abs().max() / wanted.abs().max())
            found.append(
                EngineSpeed(
                    engine=engine,
                    bodies=number,
                    batch=batch,
                    threads=cores(),
                    rounds=ROUNDS[batch],
                    loop=Times.of(seconds["loop"]),
                    request=Times.of(seconds["request"]),
                    bodies_ms=sorted(bodies_ms)[len(bodies_ms) // 2],
                    error=error,
                    wanted=WANTED.get((number, batch), {}).get(engine, 0.0),
                )
            )
    return found
