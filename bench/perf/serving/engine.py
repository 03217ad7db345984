"""`bench perf engine`: N ResNet-18 bodies behind the whole server against a plain Python loop.

The loop runs the modules in eval mode in this process, with all cores or on the GPU. Each engine
runs in a server of its own that is asked over gRPC; beside the whole request stands what the server
says its bodies took. Every body has weights of its own: a compiler must not find out that two are
the same; and every body's output is compared with the loop's, whichever of them the client selects.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bench.perf.serving.bodies import ServingScene
from bench.perf.serving.scenes import CallTimes, Deployed, cores, deployed, pixels, told_of
from bench.perf.verdict import judged
from cloud_server.engines.choose import ENGINE_KINDS
from edge_client.client import EdgeClient
from splitlab.deployment import Selector
from splitlab.errors import ServerUnavailable
from splitlab.randomness import KeyedDraw
from splitlab.split.proof import relative_error
from splitlab.training import choose_device

SCENE = ServingScene()
"""ResNet-18 with a CIFAR stem, cut behind it: features [64, 16, 16], 11 million weights a body."""
NUMBERS = (1, 4, 10)
BATCHES = (1, 32)
ENGINES = {
    "torch": (),
    "cudagraphs": ("--engine", "cudagraphs"),
    "onnxruntime": ("--engine", "onnxruntime"),
    "openvino": ("--engine", "openvino"),
    "openvino bfloat16": ("--engine", "openvino", "--bfloat16"),
}
WANTED = {
    ("cpu", 10, 1): {"torch": 1.8, "onnxruntime": 3.2, "openvino": 3.9, "openvino bfloat16": 7.0},
    ("cpu", 10, 32): {"openvino": 1.1, "openvino bfloat16": 2.1},
    ("cuda", 10, 1): {"cudagraphs": 5.0},
}
"""Times the loop's speed that the server is to reach, on two cores or a GPU, by (device, bodies,
batch)."""
TOLERANCE = 1e-4
TOLERANCE_BF16 = 0.05
"""Eight bits of a mantissa through some twenty layers."""
NO_BF16 = "takes no products in BF16"
ROUNDS = {1: 30, 32: 5}
WARM_UP = 2


@dataclass(frozen=True)
class EngineSpeed:
    """One engine, number of bodies and batch.

    Args:
        server: what it says of its engine, and what it was told about threads.
        loop: the plain loop alone, without head, wire and tail, from the CPU and back to it.
        request: the whole request: head, wire, bodies, wire, selector and tail.
        bodies_ms: of it, by the server's clock.
        error: max|delta| / max|y| against the loop, the largest of the logits and of each body's
            output.
    """

    device: str
    engine: str
    bodies: int
    batch: int
    threads: int
    server: dict[str, Any]
    rounds: int
    loop: CallTimes
    request: CallTimes
    bodies_ms: float
    error: float
    wanted: float

    def as_dict(self) -> dict[str, Any]:
        ratio = self.loop.p50_ms / self.request.p50_ms
        exact = self.error <= (TOLERANCE_BF16 if "bfloat16" in self.engine else TOLERANCE)
        alone = self.loop.p50_ms / self.bodies_ms
        return judged(self, ratio, self.wanted, sound=exact, bodies_alone=alone)


def perf_engine(
    numbers: tuple[int, ...] = NUMBERS, scene: ServingScene = SCENE, device: str = "auto"
) -> dict[str, Any]:
    """Measure every engine for the device that is installed, by bodies, batch and engine.

    BF16 on a machine without it is named as skipped; what is not installed fails.

    Args:
        device: of the servers and of the loop.

    Raises:
        BadInput: no such device.
        SplitLabError: a server did not start.
    """
    found: dict[str, Any] = {}
    place = choose_device(device)
    torch.set_num_threads(cores())
    if place.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False  # nor do the servers: errors are FP32's
    for number in numbers:
        with deployed(number, scene) as made:
            made.server.bodies.to(place)
            for engine, words in ENGINES.items():
                kind = ENGINE_KINDS[engine.split()[0]]
                if place.type not in kind.devices:
                    continue
                if missing := kind.missing():
                    why = f"{missing} is not installed"
                    found[f"N = {number}, {engine}"] = _skipped(why, ok=False)
                    continue
                try:
                    speeds = _measure(made, engine, words, place)
                except ServerUnavailable as error:
                    if NO_BF16 not in str(error):
                        raise
                    found[f"N = {number}, {engine}"] = _skipped(str(error), ok=True)
                    continue
                for speed in speeds:
                    found[f"N = {number}, batch {speed.batch}, {engine}"] = speed.as_dict()
    return found


def _skipped(why: str, ok: bool) -> dict[str, Any]:
    return {"skipped": why, "ratio": 0.0, "limit": 0.0, "ok": ok}


def output_error(made: Deployed, address: str, x: Tensor, outputs: Sequence[Tensor]) -> float:
    """The largest error of any body's output, as the server at `address` answers.

    Args:
        x: images.
        outputs: of every body, as they should be.
    """
    number = len(outputs)
    every = Selector(number, tuple(range(number)))
    with EdgeClient(replace(made.client, selector=every, tail=nn.Identity()), [address]) as client:
        given = client.infer(x).logits
    pairs = zip(given.chunk(number, 1), every(list(outputs)).chunk(number, 1), strict=True)
    return max(relative_error(output, wanted) for output, wanted in pairs)


def _loop(bodies: nn.ModuleList, feature: Tensor, place: torch.device) -> list[Tensor]:
    """The modules' outputs, one after another; their copies wait for a GPU to be done."""
    there = feature.to(place)
    outputs = [body(there) for body in bodies]
    return [output.cpu() for output in outputs]


def _measure(
    made: Deployed, engine: str, words: tuple[str, ...], place: torch.device
) -> list[EngineSpeed]:
    number = len(made.server.bodies)
    draw = KeyedDraw(made.client.secret, "0" * 32, 0)
    found = []
    with (
        made.served(cores(), *words, "--device", place.type) as server,
        made.asked((address := server.address()), cores()) as ask,
        torch.inference_mode(),
    ):
        for batch in BATCHES:
            x = pixels(batch)
            feature = made.client.head(x)
            loop, request, bodies_ms = [], [], []
            for number_of_turn in range(ROUNDS[batch] + WARM_UP):
                started = time.perf_counter()
                outputs = _loop(made.server.bodies, feature, place)
                spent = time.perf_counter() - started
                asked = ask(batch)
                if number_of_turn >= WARM_UP:
                    loop.append(spent)
                    request.append(asked.seconds)
                    bodies_ms.append(asked.stages_ms["bodies"])
            wanted = made.client.tail(made.client.select(outputs, draw))
            error = max(
                relative_error(asked.logits, wanted),
                output_error(made, address, x, outputs),
            )
            found.append(
                EngineSpeed(
                    device=place.type,
                    engine=engine,
                    bodies=number,
                    batch=batch,
                    threads=cores(),
                    server=told_of(server.said, cores()),
                    rounds=ROUNDS[batch],
                    loop=CallTimes.of(loop),
                    request=CallTimes.of(request),
                    bodies_ms=median(bodies_ms),
                    error=error,
                    wanted=WANTED.get((place.type, number, batch), {}).get(engine, 0.0),
                )
            )
    return found
