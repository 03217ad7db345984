"""CUDA graphs: all bodies on streams of their own, recorded for 1, 2, 4, 8, ... rows.

Requests that go together have any number of rows; they are filled up to the next recording.
"""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from torch import Tensor

from cloud_server.engines.contract import EngineTask, Outputs, Runner, Unfit
from splitlab.split.folding import fold_batch_norm

KEPT = 8
"""Numbers of rows for which a recording is kept; the one used longest ago makes room."""
WARM_UP = 3


class _Recording:
    """One number of rows: fixed memory for the feature, and the bodies' outputs after a replay."""

    def __init__(self, bodies: list[torch.nn.Module], feature: Tensor) -> None:
        self._feature = feature
        streams = [torch.cuda.Stream(feature.device) for _ in bodies]
        self._graph = torch.cuda.CUDAGraph()
        side = torch.cuda.Stream(feature.device)
        side.wait_stream(torch.cuda.current_stream(feature.device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                for body in bodies:
                    body(feature)
        torch.cuda.current_stream(feature.device).wait_stream(side)
        with torch.cuda.graph(self._graph):
            main = torch.cuda.current_stream(feature.device)
            self._outputs: list[Tensor] = []
            for body, stream in zip(bodies, streams, strict=True):
                stream.wait_stream(main)
                with torch.cuda.stream(stream):
                    self._outputs.append(body(feature).float())
            for stream in streams:
                main.wait_stream(stream)

    def run(self, feature: Tensor) -> list[Tensor]:
        self._feature.copy_(feature)
        self._graph.replay()
        return [output.cpu() for output in self._outputs]


def cuda_graphs(task: EngineTask) -> Runner:
    """
    Raises:
        Unfit: a body that cannot be recorded, such as one that looks at its values on the CPU.
    """
    dtype = torch.bfloat16 if task.bfloat16 else torch.float32
    bodies = [
        fold_batch_norm(copy.deepcopy(body)).to(dtype).to(memory_format=torch.channels_last)
        for body in task.bodies
    ]
    kept: OrderedDict[int, _Recording] = OrderedDict()

    def run(feature: Tensor) -> Outputs:
        asked = len(feature)
        rows = 1 << (asked - 1).bit_length()
        feature = torch.cat([feature, feature[:1].expand(rows - asked, *feature.shape[1:])])
        with torch.inference_mode():
            if rows not in kept:
                kept[rows] = _Recording(bodies, feature.to(task.place, dtype))
                if len(kept) > KEPT:
                    kept.popitem(last=False)
            kept.move_to_end(rows)
            return [output[:asked] for output in kept[rows].run(feature)], ()

    try:
        run(task.example)
    except RuntimeError as error:
        raise Unfit(f"these bodies cannot be recorded ({error})") from error
    return run
