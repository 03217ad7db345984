"""A contender run for so many CPU seconds, and read at several times within one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.perf.attacks.peers.peer import Peer

Seconds = Callable[[], float]
"""A clock that only grows, such as `time.process_time`."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What a contender has at one time.

    Args:
        budget: CPU seconds that it was allowed.
        seconds: that it took; those of reading it are not among them.
        steps: that it made.
        images: [n, 3, S, S] in [0, 1]; numbers that are none are mid-grey.
        broken: images that had some.
        loss: of its last step.
    """

    budget: float
    seconds: float
    steps: int
    images: Tensor
    broken: int
    loss: float


def read_at(
    make: Callable[[], Peer],
    budgets: Sequence[float],
    clock: Seconds,
    told: Callable[[int], None] = lambda _: None,
) -> list[Reading]:
    """Begin a loop, and read it after the first step that reaches each budget.

    What it takes to begin counts. It is never stopped within a step, so that it has up to a step
    more than its budget.

    Args:
        make: begins it.
        budgets: seconds, ascending.
        clock: of this process's work.
        told: the whole seconds that have passed, one after another.
    """
    began, paused, passed = clock(), 0.0, 0
    peer, steps, loss = make(), 0, float("nan")
    found: list[Reading] = []
    for budget in budgets:
        while (spent := clock() - began - paused) < budget:
            loss = peer.step()
            steps += 1
            if int(spent) > passed:
                told(int(spent) - passed)
                passed = int(spent)
        told(int(budget) - passed)
        passed = int(budget)
        before = clock()
        images, broken = sound(peer.answer())
        found.append(Reading(budget, before - began - paused, steps, images, broken, loss))
        paused += clock() - before
    return found


def sound(images: Tensor) -> tuple[Tensor, int]:
    """Images in [0, 1], mid-grey where a number is none, and how many had some such."""
    broken = int((~images.isfinite()).flatten(1).any(1).sum())
    return images.nan_to_num(nan=0.5, posinf=1.0, neginf=0.0).clamp(0, 1), broken


@contextmanager
def one_thread() -> Iterator[None]:
    """CPU seconds of one thread are what another one's are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
