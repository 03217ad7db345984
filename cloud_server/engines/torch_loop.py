"""PyTorch, one body after another: as they are, with BatchNorm folded, and with channels last."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from cloud_server.engines.contract import Outputs, Runner, Task
from splitlab.split.folding import fold_batch_norm


def plain(task: Task) -> Runner:
    """The loop over the modules as they are: what every other engine is measured against."""
    return _runner(task, task.bodies, torch.contiguous_format)


def folded(task: Task) -> Runner:
    """BatchNorm folded into the convolutions."""
    return _runner(task, _folded(task.bodies), torch.contiguous_format)


def channels_last(task: Task) -> Runner:
    """BatchNorm folded, and the memory layout that convolutions are fastest in."""
    bodies = [body.to(memory_format=torch.channels_last) for body in _folded(task.bodies)]
    return _runner(task, bodies, torch.channels_last)


def _folded(bodies: Sequence[nn.Module]) -> list[nn.Module]:
    return [fold_batch_norm(copy.deepcopy(body)) for body in bodies]


def _runner(task: Task, bodies: Sequence[nn.Module], layout: torch.memory_format) -> Runner:
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
