"""Networks of Ensembler's stage one in several processes, each with a share of the cores."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from defenses.prepare import Order
from splitlab.errors import SplitLabError
from splitlab.training import Work

PR_SET_PDEATHSIG = 1
Message = tuple[str, int, Any]


def share_out(order: Order, spec: str, pending: Sequence[int], work: Work) -> None:
    """Train the networks `pending` in as many processes as there are cores, at most one each.

    Every network is in `order.folder` when this returns. The processes never outlive this one: on
    Linux the kernel ends them with the thread that made them.

    Args:
        order: without a progress display; `work` is told instead.
        spec: the stack of defences as text.

    Raises:
        SplitLabError: a process failed; the message ends with its words.
    """
    cores = os.cpu_count() or 1
    count = min(cores, len(pending))
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    with _environment(max(1, cores // count)):
        processes = [
            context.Process(
                target=_run,
                args=(order, spec, list(pending[start::count]), max(1, cores // count), told),
                daemon=True,
            )
            for start in range(count)
        ]
        for process in processes:
            process.start()
    try:
        left = count
        while left:
            try:
                kind, number, value = told.get(timeout=1)
            except queue.Empty:
                dead = [p.exitcode for p in processes if p.exitcode not in (None, 0)]
                if dead:
                    raise SplitLabError(
                        f"a process that trained networks ended with {dead[0]}; start again, "
                        "finished networks are kept"
                    ) from None
                continue
            if kind == "images":
                work.advance(number, value)
            elif kind == "failed":
                raise SplitLabError(f"network {number} of stage one: {value}")
            else:
                left -= 1
    finally:
        for process in processes:
            if left:
                process.terminate()
            process.join()


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What a child inherits: its share of threads, which wait without spinning for each other."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NUM_THREADS")
    wanted = {**dict.fromkeys(names, str(threads)), "OMP_WAIT_POLICY": "PASSIVE"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _run(order: Order, spec: str, numbers: list[int], threads: int, told: Any) -> None:
    """A worker's whole life."""
    import dataclasses

    from defenses.spec import parse
    from defenses.stage_one import Members, train_one

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    torch.set_num_threads(threads)
    order = dataclasses.replace(order, progress=_Told(told))
    number = numbers[0]
    try:
        members = Members(order, parse(spec))
        for number in numbers:
            train_one(order, members, number)
        told.put(("done", 0, None))
    except Exception as error:
        told.put(("failed", number, f"{type(error).__name__}: {error}"))


class _Told:
    """Progress that is told to the process that waits."""

    def __init__(self, told: Any) -> None:
        self._told = told

    def task(self, name: str, total: int, done: int = 0) -> _Told:  # noqa: ARG002
        if done:
            self._told.put(("images", done, None))
        return self

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        self._told.put(("images", count, None if loss is None else float(loss)))

    def close(self) -> None:
        pass
