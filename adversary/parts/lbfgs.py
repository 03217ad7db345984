"""L-BFGS on many small problems at once (Nocedal and Wright 2006, algorithms 7.4 and 3.1).

torch's own takes one step length and one curvature for the whole tensor. Here every row is a
problem of its own, with its own curvature, direction and step; only the evaluation is shared. A row
whose step does not lower its loss enough tries a shorter one while the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

HISTORY = 20
"""Pairs of step and change of slope that are remembered."""
ENOUGH = 1e-4
"""A step is taken if the loss falls by this share of what its slope promises (Armijo)."""
SHORTEST, LONGEST = 0.1, 0.5
"""A step that failed shrinks to a share of itself between these."""
CURVED = 1e-10
"""A pair counts if the slope changed along the step by this share of its squared change."""


class Found(NamedTuple):
    """
    Args:
        values: [B, *item], of the least loss that was met.
        losses: [B], theirs.
        earlier: [B], what they were after nine tenths of the evaluations.
        blind: bool [B], rows whose loss had no slope at the beginning.
    """

    values: Tensor
    losses: Tensor
    earlier: Tensor
    blind: Tensor


class _Memory:
    """Curvature of every row; a pair that does not count for a row is zero there.

    Args:
        scale: [B], of the first steepest step.
    """

    def __init__(self, scale: Tensor) -> None:
        self._scale = scale
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=HISTORY)

    def add(self, step: Tensor, change: Tensor, taken: Tensor) -> None:
        along, square = (step * change).sum(1), change.square().sum(1)
        counts = taken & (along > CURVED * square)
        if not bool(counts.any()):
            return
        keep = counts[:, None]
        self._pairs.append(
            (
                step.where(keep, torch.zeros_like(step)),
                change.where(keep, torch.zeros_like(change)),
                (1 / along).where(counts, torch.zeros_like(along)),
            )
        )
        self._scale = (along / square).where(counts, self._scale)

    def direction(self, slope: Tensor) -> Tensor:
        """The two loops; steepest descent for a row without pairs."""
        found, shares = slope.clone(), []
        for step, change, per in reversed(self._pairs):
            shares.append(per * (step * found).sum(1))
            found -= shares[-1][:, None] * change
        found *= self._scale[:, None]
        for (step, change, per), share in zip(self._pairs, reversed(shares), strict=True):
            found += (share - per * (change * found).sum(1))[:, None] * step
        return -found

    def steepest(self, slope: Tensor) -> Tensor:
        return -slope * self._scale[:, None]


def minimise(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    evaluations: int,
    goes_on: Callable[[], bool] | None = None,
) -> Found:
    """Minimise each row's loss by itself.

    Args:
        loss: values [B, *item] -> [B], differentiable; a row depends on its own values alone.
        start: [B, *item].
        evaluations: of loss and slope, at least 1; each is of all rows.
        goes_on: told of each; stops where it says no.
    """

    def evaluate(flat: Tensor) -> tuple[Tensor, Tensor]:
        values = flat.view(start.shape).detach().requires_grad_()
        found = loss(values)
        (slope,) = torch.autograd.grad(found.sum(), values)
        return found.detach(), slope.flatten(1)

    at = start.detach().flatten(1).clone()
    best, slope = evaluate(at)
    blind = slope.abs().amax(1) == 0
    memory = _Memory(1 / slope.norm(dim=1).clamp_min(1e-12))
    direction, length = memory.steepest(slope), torch.ones_like(best)
    earlier, mark = best, evaluations - 1 - evaluations // 10
    for turn in range(1, evaluations):
        if goes_on is not None and not goes_on():
            break
        if turn == mark:
            earlier = best
        falls = (slope * direction).sum(1)
        lost = falls >= 0
        if bool(lost.any()):
            direction = memory.steepest(slope).where(lost[:, None], direction)
            falls = (slope * direction).sum(1)
        there = at + length[:, None] * direction
        reached, slope_there = evaluate(there)
        taken = reached <= best + ENOUGH * length * falls  # False where it is not a number
        move = taken[:, None]
        memory.add(there - at, slope_there - slope, taken)
        at, slope = there.where(move, at), slope_there.where(move, slope)
        # The parabola through both losses and the slope has its least here.
        least = -falls * length.square() / (2 * (reached - best - length * falls))
        shorter = least.nan_to_num(0.0).clamp(SHORTEST * length, LONGEST * length)
        best = reached.where(taken, best)
        direction = memory.direction(slope).where(move, direction)
        length = torch.ones_like(length).where(taken, shorter)
    return Found(at.view(start.shape), best, earlier, blind)
