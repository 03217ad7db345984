"""`bench perf split`: the split network over a server on localhost against the whole in a process.

The rival is the whole network with BatchNorm folded, in the memory layout in which it is faster at
that batch, with all cores. Client and server are processes with as many threads each, which spin
little: while the server computes the client has little to do, and the other way round. Each network
is measured with the default engine and with what `--engine auto` takes here; where that is not
PyTorch, part of the difference is the engine's and not the split's.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from bench.perf.serving.bodies import ServingScene
from bench.perf.serving.scenes import CallTimes, cores, deployed, pixels, told_of
from bench.perf.verdict import judged
from splitlab.split.folding import fold_batch_norm
from splitlab.split.proof import relative_error

BATCHES = (1, 8, 32, 128)
LIMIT = 1.15
"""Most that the split network may take, in times the whole one's, where that takes `FROM_MS`."""
FROM_MS = 100.0
TOLERANCE = 1e-4
SCENES = {
    "resnet20 behind its stem": ServingScene(
        model="resnet20", head_end="relu", tail_start="avgpool"
    ),
    "resnet18_cifar behind its stem": ServingScene(),
    "resnet18_cifar in its middle": ServingScene(head_end="layer2.1"),
}
ENGINES = ("torch", "auto")
WARM_UP = 2
TRIALS = 4
ROUNDS = {1: 40, 8: 20, 32: 9, 128: 5}


@dataclass(frozen=True)
class SplitSpeed:
    """One network and batch.

    Args:
        server: what it says of its engine, and what it was told about threads.
        stages_ms: medians over the rounds: where a request's time goes, summed over its
            micro-batches, which overlap.
        error: max|delta| / max|y| of the two answers.
    """

    batch: int
    engine: str
    threads: dict[str, int]
    server: dict[str, Any]
    rounds: int
    whole: CallTimes
    split: CallTimes
    stages_ms: dict[str, float]
    error: float

    @property
    def held(self) -> bool:
        """Whether the limit is meant for it."""
        return self.whole.p50_ms >= FROM_MS

    def as_dict(self) -> dict[str, Any]:
        ratio = self.whole.p50_ms / self.split.p50_ms
        return judged(
            self,
            ratio,
            1 / LIMIT if self.held else 0.0,
            sound=self.error <= TOLERANCE,
            images_per_second={
                "whole": 1000 * self.batch / self.whole.p50_ms,
                "split": 1000 * self.batch / self.split.p50_ms,
            },
            limit_is_meant=self.held,
        )


def perf_split(quick: bool = False) -> dict[str, dict[str, Any]]:
    """Measure every network and batch; by their names.

    Args:
        quick: the smallest network, few turns.

    Raises:
        SplitLabError: a server did not start.
    """
    scenes = dict(list(SCENES.items())[:1]) if quick else SCENES
    batches = BATCHES[:2] if quick else BATCHES
    found = {}
    for name, scene in scenes.items():
        for engine in ("torch",) if quick else ENGINES:
            for speed in _measure(scene, batches, quick, engine):
                found[f"{name}, batch {speed.batch}, engine {engine}"] = speed.as_dict()
    return found


def _measure(
    scene: ServingScene, batches: tuple[int, ...], quick: bool, engine: str
) -> list[SplitSpeed]:
    threads = cores()
    torch.set_num_threads(threads)
    found = []
    with (
        deployed(1, scene) as made,
        made.served(threads, "--engine", engine) as server,
        made.asked(server.address(), threads) as ask,
    ):
        parts = nn.Sequential(
            *map(copy.deepcopy, (made.client.head, made.server.bodies[0], made.client.tail))
        )
        folded = fold_batch_norm(parts)
        for batch in batches:
            whole, x = _faster(folded, pixels(batch))
            seconds: dict[str, list[float]] = {"whole": [], "split": []}
            stages: dict[str, list[float]] = {}
            rounds = 3 if quick else ROUNDS[batch]
            for number in range(rounds + WARM_UP):
                started = time.perf_counter()
                with torch.inference_mode():
                    wanted = whole(x)
                spent = time.perf_counter() - started
                asked = ask(batch)
                if number < WARM_UP:
                    continue
                seconds["whole"].append(spent)
                seconds["split"].append(asked.seconds)
                for stage, ms in asked.stages_ms.items():
                    stages.setdefault(stage, []).append(ms)
            found.append(
                SplitSpeed(
                    batch=batch,
                    engine=str(server.said["engine"]),
                    threads={"whole": threads, "client": threads, "server": threads},
                    server=told_of(server.said, threads),
                    rounds=rounds,
                    whole=CallTimes.of(seconds["whole"]),
                    split=CallTimes.of(seconds["split"]),
                    stages_ms={stage: median(values) for stage, values in stages.items()},
                    error=relative_error(asked.logits, wanted),
                )
            )
    return found


def _faster(folded: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """The network and its input in the layout in which it takes this batch faster."""
    found = []
    for layout in (torch.contiguous_format, torch.channels_last):
        net, given = (
            copy.deepcopy(folded).to(memory_format=layout),
            x.contiguous(memory_format=layout),
        )
        seconds = []
        with torch.inference_mode():
            for _ in range(1 + TRIALS):
                started = time.perf_counter()
                net(given)
                seconds.append(time.perf_counter() - started)
        found.append((min(seconds[1:]), net, given))
    _, net, given = min(found, key=lambda one: one[0])
    return net, given
