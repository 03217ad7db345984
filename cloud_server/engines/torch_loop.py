"""PyTorch: the bodies as they are, with BatchNorm folded, in either layout, and side by side."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from cloud_server.engines.contract import EngineTask, Outputs, Runner
from cloud_server.engines.timing import fastest
from splitlab.split.folding import fold_batch_norm
from splitlab.thread_share import use_threads

LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}


def plain(task: EngineTask) -> Runner:
    """The loop over the modules as they are: what every other engine is measured against."""
    return _runner(task, task.bodies, torch.contiguous_format)


def folded(task: EngineTask) -> Runner:
    """BatchNorm folded into the convolutions."""
    return _runner(task, _folded(task.bodies), torch.contiguous_format)


def channels_last(task: EngineTask) -> Runner:
    """BatchNorm folded, and the memory layout in which a pixel's channels lie side by side."""
    bodies = [body.to(memory_format=torch.channels_last) for body in _folded(task.bodies)]
    return _runner(task, bodies, torch.channels_last)


def best(task: EngineTask) -> Runner:
    """Folded, and arranged as it runs fastest here.

    Which memory layout is the faster one differs between processors and numbers of rows, and so
    does whether bodies side by side pay for the cache that they share. Off the CPU: channels last.
    """
    if task.place.type != "cpu":
        return channels_last(task)
    ways = {"channels first": folded, "channels last": channels_last}
    if len(task.bodies) >= task.threads > 1:
        for name, layout in LAYOUTS.items():
            ways[f"{name}, side by side"] = partial(side_by_side, layout=layout)
    return fastest(ways, task)


def side_by_side(task: EngineTask, layout: torch.memory_format = torch.channels_last) -> Runner:
    """Each body on one thread, as many at once as there are threads.

    Two threads inside every convolution meet after each layer, and small layers leave them waiting;
    bodies need not meet before the end.
    """
    dtype = torch.bfloat16 if task.bfloat16 else torch.float32
    bodies = [body.to(dtype).to(memory_format=layout) for body in _folded(task.bodies)]
    pool = ThreadPoolExecutor(task.threads, "bodies", initializer=use_threads, initargs=(1,))
    # All of the pool's threads start here, and then torch's number is put back.
    together = threading.Barrier(task.threads)
    list(pool.map(lambda _: together.wait(), range(task.threads)))
    torch.set_num_threads(task.threads)

    def one(body: nn.Module, feature: Tensor) -> tuple[Tensor, int]:
        started = time.perf_counter_ns()
        with torch.inference_mode():
            output: Tensor = body(feature).float()
        return output, (time.perf_counter_ns() - started) // 1000

    def run(feature: Tensor) -> Outputs:
        feature = feature.to(dtype)
        if feature.dim() == 4:
            feature = feature.contiguous(memory_format=layout)
        outputs, spent = zip(*pool.map(lambda body: one(body, feature), bodies), strict=True)
        return list(outputs), spent

    return run


def _folded(bodies: Sequence[nn.Module]) -> list[nn.Module]:
    return [fold_batch_norm(copy.deepcopy(body)) for body in bodies]


def _runner(task: EngineTask, bodies: Sequence[nn.Module], layout: torch.memory_format) -> Runner:
    dtype = torch.bfloat16 if task.bfloat16 else torch.float32
    if task.bfloat16:
        bodies = [copy.deepcopy(body).to(dtype) for body in bodies]

    def run(feature: Tensor) -> Outputs:
        feature = feature.to(task.place, dtype)
        if feature.dim() == 4:
            feature = feature.contiguous(memory_format=layout)
        outputs, stamps = [], [time.perf_counter_ns()]
        with torch.inference_mode():
            for body in bodies:
                outputs.append(body(feature))
                stamps.append(time.perf_counter_ns())
            alone = task.place.type == "cpu"  # elsewhere calls return before their work is done
            outputs = [output.to("cpu", torch.float32) for output in outputs]
        return outputs, tuple((b - a) // 1000 for a, b in pairwise(stamps)) if alone else ()

    return run
