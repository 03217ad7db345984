"""One thread runs all bodies; what waits while it runs goes together in its next batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from cloud_server.engines.choose import check_name, choose, example_of
from cloud_server.engines.contract import EngineTask
from cloud_server.engines.turns import Turns
from splitlab.thread_share import use_threads
from splitlab.training import choose_device

TOGETHER = 32
"""Rows of different requests that go through the bodies at once, by default."""


@dataclass(frozen=True)
class Answer:
    """What one request got, and how long it waited and ran, in microseconds.

    Args:
        queue_us: until its batch began, and in that batch for the rows of others.
        bodies_us: its own rows' share of the batch.
        each_us: of each body, its rows' share; empty where the engine cannot tell. Bodies that run
            side by side overlap.
        rows_together: of the batch, those of other requests included.
    """

    outputs: list[Tensor]
    queue_us: int
    bodies_us: int
    each_us: tuple[int, ...] = ()
    rows_together: int = 0


@dataclass
class _Job:
    feature: Tensor
    wanted: Callable[[], bool]
    submitted: int = field(default_factory=time.perf_counter_ns)
    answer: Future[Answer | None] = field(default_factory=Future)


class Engine:
    """Bodies behind one thread, so that OpenMP keeps one team and requests do not fight for cores.

    Args:
        bodies: modules z [B, *feature_shape] -> y, in eval mode; they are moved to `device`. No
            row may depend on another.
        shape: one feature's shape, without the batch.
        name: an engine, or "auto" to measure once and take the fastest that agrees with the loop,
            with one row and with as many as may go together.
        rows: rows of a typical micro-batch, used for measuring.
        threads: threads of one forward pass; None for as many as the caller's own.
        device: "auto", "cpu" or "cuda".
        bfloat16: take products in BF16.
        together: rows of waiting requests that may go in one batch; 1 keeps them apart.

    Raises:
        BadInput: an engine that is none or cannot run this, or CUDA asked for where there is none.
    """

    def __init__(
        self,
        bodies: Sequence[nn.Module],
        shape: tuple[int, ...],
        *,
        name: str = "torch",
        rows: int = 8,
        threads: int | None = None,
        device: str = "cpu",
        bfloat16: bool = False,
        together: int = TOGETHER,
    ) -> None:
        check_name(name)
        place = choose_device(device)
        if place.type == "cuda":
            # TF32 keeps 10 bits of the mantissa; the lab's equality is 1e-5
            torch.backends.cudnn.allow_tf32 = False
        callers = torch.get_num_threads()
        task = EngineTask(
            [body.to(place) for body in bodies],
            example_of(shape, rows),
            place,
            threads or callers,
            bfloat16,
            together,
        )
        self._together = together
        self._changed, self._closed = threading.Condition(), False
        self._waiting: Turns[_Job] = Turns()
        ready: Future[None] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(name, task, ready), name="engine", daemon=True
        )
        self._thread.start()
        try:
            ready.result()
        finally:
            torch.set_num_threads(callers)  # threads that start later begin with it

    @property
    def name(self) -> str:
        """The engine that runs."""
        return self.chosen.name

    def run(
        self, feature: Tensor, wanted: Callable[[], bool] = lambda: True, host: str = ""
    ) -> Answer | None:
        """z [B, *shape] -> the bodies' outputs; None if `wanted` says no when its turn comes.

        Hosts take turns: before a request go those of its `host`, and as many of any other.
        """
        job = _Job(feature, wanted)
        with self._changed:
            if self._closed:
                raise RuntimeError("the engine is closed")
            self._waiting.add(host, len(feature), job)
            self._changed.notify()
        return job.answer.result()

    def close(self) -> None:
        """Finish what waits and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self, name: str, task: EngineTask, ready: Future[None]) -> None:
        try:
            use_threads(task.threads)
            self.chosen = choose(name, task)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        while jobs := self._next():
            self._answer(jobs)
            del jobs  # until the next come

    def _next(self) -> list[_Job]:
        """Who goes next, together; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.take(self._together)

    def _answer(self, jobs: list[_Job]) -> None:
        started = time.perf_counter_ns()
        wanted = []
        for job in jobs:
            if job.wanted():
                wanted.append(job)
            else:
                job.answer.set_result(None)
        if not wanted:
            return
        features = [job.feature for job in wanted]
        try:
            whole = features[0] if len(features) == 1 else torch.cat(features)
            outputs, each_us = self.chosen.run(whole)
        except Exception as error:
            for job in wanted:
                job.answer.set_exception(error)
            return
        spent = (time.perf_counter_ns() - started) // 1000
        first = 0
        for job in wanted:
            rows = slice(first, first + len(job.feature))
            first = rows.stop
            share = spent * len(job.feature) // len(whole)
            job.answer.set_result(
                Answer(
                    [output[rows] for output in outputs],
                    (started - job.submitted) // 1000 + spent - share,
                    share,
                    tuple(us * len(job.feature) // len(whole) for us in each_us),
                    len(whole),
                )
            )
