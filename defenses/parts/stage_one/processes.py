"""Networks of Ensembler's stage one in several processes, each with a share of the cores."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from defenses.parts.prepare import Order
from defenses.parts.spec import parse
from defenses.parts.stage_one.members import Members, train_one
from splitlab.errors import SplitLabError
from splitlab.training import Progress, Work
from splitlab.workers import side_by_side


def share_out(order: Order, spec: str, pending: Sequence[int], work: Work) -> None:
    """Train the networks `pending` in as many processes as there are cores, at most one each.

    Every network is in `order.folder` when this returns.

    Args:
        order: without a progress display; `work` is told instead.
        spec: the stack of defences as text.

    Raises:
        SplitLabError: a process failed; the message ends with its words.
    """
    count = min(os.cpu_count() or 1, len(pending))
    do = partial(_train, order, spec)
    for _ in side_by_side(do, list(pending), count=count, progress=_OneWork(work)):
        pass


def _train(order: Order, spec: str, number: int, progress: Progress) -> Iterator[int]:
    order = dataclasses.replace(order, progress=progress)
    try:
        train_one(order, Members(order, parse(spec)), number)
    except Exception as error:
        raise SplitLabError(
            f"network {number} of stage one: {type(error).__name__}: {error}"
        ) from error
    yield number


class _OneWork:
    """Shows all networks as one piece of work."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def task(self, name: str, total: int, done: int = 0) -> Work:  # noqa: ARG002
        if done:
            self._work.advance(done)
        return _Part(self._work)


class _Part:
    def __init__(self, work: Work) -> None:
        self._work = work

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        self._work.advance(count, loss)

    def close(self) -> None:
        """The whole is closed by whoever opened it."""
