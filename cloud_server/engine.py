"""Run the N bodies: BatchNorm folded into convolutions, and the faster memory layout of the two."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from splitlab.errors import BadInput
from splitlab.split.folding import fold_batch_norm
from splitlab.training import choose_device

EngineName = Literal["plain", "folded", "channels_last"]
TOLERANCE = 1e-5  # max|delta| / max|y|, the lab's one definition of equality
REPEATS = 3


@dataclass(frozen=True)
class Answer:
    """What one run gave, and how long it waited and ran, in microseconds.

    Args:
        each_us: of each body; empty where they do not run one by one.
    """

    outputs: list[Tensor]
    queue_us: int
    bodies_us: int
    each_us: tuple[int, ...] = ()


class Engine:
    """Bodies behind one thread, so that OpenMP keeps one team and requests do not fight for cores.

    Args:
        bodies: modules z [B, *feature_shape] -> y, in eval mode; they are moved to `device`.
        shape: one feature's shape, without the batch.
        name: an engine, or "auto" to measure once and take the fastest that agrees with "plain".
        rows: rows of a typical micro-batch, used for measuring.
        threads: threads of one forward pass; None leaves torch's own choice.
        device: "auto", "cpu" or "cuda".

    Raises:
        BadInput: an unknown engine, or CUDA asked for where there is none.
    """

    def __init__(
        self,
        bodies: Sequence[nn.Module],
        shape: tuple[int, ...],
        *,
        name: str = "auto",
        rows: int = 8,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        if name not in ("auto", "plain", "folded", "channels_last"):
            raise BadInput(f"--engine {name!r}: give auto, plain, folded or channels_last")
        place = choose_device(device)
        if place.type == "cuda":
            # TF32 keeps 10 bits of the mantissa; the lab's equality is 1e-5
            torch.backends.cudnn.allow_tf32 = False
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="engine")
        if threads is not None:
            # intra-op threads are a property of the process, set before the first forward pass
            torch.set_num_threads(threads)
        example = torch.linspace(0, 1, rows * math.prod(shape)).reshape(rows, *shape)
        build = self._worker.submit(_choose, list(bodies), example, name, place)
        self.name, self._run_bodies = build.result()

    def run(self, feature: Tensor, wanted: Callable[[], bool] = lambda: True) -> Answer | None:
        """z [B, *shape] -> the bodies' outputs; None if `wanted` says no when its turn comes."""
        submitted = time.perf_counter_ns()
        return self._worker.submit(self._answer, feature, wanted, submitted).result()

    def close(self) -> None:
        """Finish what runs and end the thread."""
        self._worker.shutdown()

    def _answer(self, feature: Tensor, wanted: Callable[[], bool], submitted: int) -> Answer | None:
        started = time.perf_counter_ns()
        if not wanted():
            return None
        outputs, each_us = self._run_bodies(feature)
        ended = time.perf_counter_ns()
        return Answer(outputs, (started - submitted) // 1000, (ended - started) // 1000, each_us)


Runner = Callable[[Tensor], tuple[list[Tensor], tuple[int, ...]]]
"""Outputs, and the microseconds of each body where they run one by one."""


def _choose(
    bodies: list[nn.Module], example: Tensor, name: str, place: torch.device
) -> tuple[EngineName, Runner]:
    """The engine asked for, or the fastest that gives what "plain" gives."""
    bodies = [body.to(place) for body in bodies]
    kinds: dict[EngineName, Callable[[], Runner]] = {
        "plain": lambda: _runner(bodies, torch.contiguous_format, place),
        "folded": lambda: _runner(
            [_folded(body) for body in bodies], torch.contiguous_format, place
        ),
        "channels_last": lambda: _runner(
            [_folded(body) for body in bodies], torch.channels_last, place
        ),
    }
    for kind, make in kinds.items():
        if kind == name:
            return kind, make()
    plain = kinds["plain"]()
    wanted, seconds = _measure(plain, example)
    best: tuple[float, EngineName, Runner] = (seconds, "plain", plain)
    for kind in ("folded", "channels_last"):
        runner = kinds[kind]()
        outputs, seconds = _measure(runner, example)
        agree = all(_error(y, x) <= TOLERANCE for y, x in zip(outputs, wanted, strict=True))
        if agree and seconds < best[0]:
            best = (seconds, kind, runner)
    return best[1], best[2]


def _runner(
    bodies: Sequence[nn.Module], layout: torch.memory_format, place: torch.device
) -> Runner:
    if layout is torch.channels_last:
        bodies = [body.to(memory_format=layout) for body in bodies]

    def run(feature: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
        feature = feature.to(place)
        if feature.dim() == 4:
            feature = feature.contiguous(memory_format=layout)
        outputs, stamps = [], [time.perf_counter_ns()]
        with torch.inference_mode():
            for body in bodies:
                outputs.append(body(feature))
                stamps.append(time.perf_counter_ns())
            if place.type != "cpu":  # where calls return before their work is done
                return [output.cpu() for output in outputs], ()
        return outputs, tuple((b - a) // 1000 for a, b in pairwise(stamps))

    return run


def _folded(body: nn.Module) -> nn.Module:
    return fold_batch_norm(copy.deepcopy(body))


def _measure(run: Runner, example: Tensor) -> tuple[list[Tensor], float]:
    """Outputs and the best of a few runs, in seconds; the first run warms up."""
    outputs, _ = run(example)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run(example)
        seconds.append(time.perf_counter() - started)
    return outputs, min(seconds)


def _error(given: Tensor, wanted: Tensor) -> float:
    """max|delta| / max|y|."""
    scale = float(wanted.abs().max())
    return float((given - wanted).abs().max()) / (scale or 1.0)
