"""How long an engine takes: measured where and when it is to be used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

from torch import Tensor

from cloud_server.engines.contract import Runner, Task

REPEATS = 3


def typical(run: Runner, example: Tensor) -> float:
    """Seconds of a batch: the geometric mean of one row's and of all rows'."""
    return math.sqrt(_seconds(run, example[:1]) * _seconds(run, example))


def fastest(ways: Iterable[Callable[[Task], Runner]], task: Task) -> Runner:
    """What runs fastest; two copies of the bodies are held at a time."""
    best: tuple[float, Runner] | None = None
    for make in ways:
        run = make(task)
        took = typical(run, task.example)
        if best is None or took < best[0]:
            best = took, run
    assert best is not None
    return best[1]


def _seconds(run: Runner, example: Tensor) -> float:
    """The best of a few runs; the first warms up."""
    run(example)
    found = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run(example)
        found.append(time.perf_counter() - started)
    return min(found)
