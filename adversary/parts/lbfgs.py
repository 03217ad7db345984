"""L-BFGS on many small problems at once (Nocedal and Wright 2006, algorithms 7.4 and 3.1).

torch's own takes one step length and one curvature for the whole tensor. Here every row is a
problem of its own, with its own curvature, direction and step; only the evaluation is shared. A row
whose step does not lower its loss enough tries a shorter one while the others go on.
"""

from __future__ import annotations

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
REFUSED = 8
"""After so many refusals on end a row forgets its curvature, and tries steepest descent."""
CURVED = 1e-10
"""A pair counts if the slope changed along the step by this share of its squared change."""


class Descended(NamedTuple):
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
    """Curvature of every row, each with the last pairs of its own: what a row remembers does not
    depend on which rows it shares the batch with.

    Args:
        scale: [B], of the first steepest step.
        like: [B, N], as the problems are.
    """

    def __init__(self, scale: Tensor, like: Tensor) -> None:
        self._scale = scale
        self._rows = torch.arange(len(like), device=like.device)
        self._newest = torch.full_like(self._rows, -1)
        self._kept = 0
        self._steps, self._changes = (like.new_zeros(HISTORY, *like.shape) for _ in range(2))
        self._per = like.new_zeros(HISTORY, len(like))
        self._together = True

    def add(self, step: Tensor, change: Tensor, taken: Tensor) -> None:
        along, square = (step * change).sum(1), change.square().sum(1)
        counts = taken & (along > CURVED * square)
        rows = counts.nonzero()[:, 0]
        if not len(rows):
            return
        self._newest[rows] = (self._newest[rows] + 1) % HISTORY
        at = (self._newest[rows], rows)
        self._steps[at], self._changes[at] = step[rows], change[rows]
        self._per[at] = 1 / along[rows]
        self._scale[rows] = along[rows] / square[rows]
        self._kept = min(self._kept + 1, HISTORY)
        self._together = self._together and len(rows) == len(step)

    def direction(self, slope: Tensor) -> Tensor:
        """The two loops; steepest descent for a row without pairs."""
        found, shares = slope.clone(), []
        for ago in range(self._kept):
            step, change, per = self._pair(ago)
            shares.append(per * (step * found).sum(1))
            found -= shares[-1][:, None] * change
        found *= self._scale[:, None]
        for ago in reversed(range(self._kept)):
            step, change, per = self._pair(ago)
            found += (shares[ago] - per * (change * found).sum(1))[:, None] * step
        return -found

    def forget(self, rows: Tensor) -> None:
        """What these rows (bool [B]) remember: a pair of zeros says nothing. Their scale stays."""
        self._steps[:, rows], self._changes[:, rows], self._per[:, rows] = 0.0, 0.0, 0.0

    def steepest(self, slope: Tensor) -> Tensor:
        return -slope * self._scale[:, None]

    def _pair(self, ago: int) -> tuple[Tensor, Tensor, Tensor]:
        """Step, change and 1 / their product of every row, so many before its newest: zeros where
        a row has not so many.
        """
        if self._together:  # the same place in all rows, which need not be copied
            at = int(self._newest[0] - ago) % HISTORY
            return self._steps[at], self._changes[at], self._per[at]
        places = ((self._newest - ago) % HISTORY, self._rows)
        return self._steps[places], self._changes[places], self._per[places]


def minimise(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    evaluations: int,
    goes_on: Callable[[], bool] | None = None,
) -> Descended:
    """Minimise each row's loss by itself.

    Args:
        loss: values [B, *item] -> [B], differentiable; a row depends on its own values alone.
        start: [B, *item].
        evaluations: of loss and slope, at least 1; each is of all rows.
        goes_on: told of each; stops where it says no.

    Returns:
        of every row what was best, which is where it ends: no step is taken that raises its loss.
    """

    def evaluate(flat: Tensor) -> tuple[Tensor, Tensor]:
        values = flat.view(start.shape).detach().requires_grad_()
        found = loss(values)
        (slope,) = torch.autograd.grad(found.sum(), values)
        return found.detach(), slope.flatten(1)

    at = start.detach().flatten(1).clone()
    best, slope = evaluate(at)
    blind = slope.abs().amax(1) == 0
    memory = _Memory(1 / slope.norm(dim=1).clamp_min(1e-12), at)
    direction, length = memory.steepest(slope), torch.ones_like(best)
    refused = torch.zeros_like(best, dtype=torch.int64)
    earlier, mark = best, evaluations - 1 - evaluations // 10
    for turn in range(1, evaluations + 1):
        if (goes_on is not None and not goes_on()) or turn == evaluations:
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
        refused = (refused + 1).where(~taken, 0)
        misled = refused == REFUSED
        if bool(misled.any()):
            memory.forget(misled)
            direction = memory.steepest(slope).where(misled[:, None], direction)
            length = torch.ones_like(length).where(misled, length)
    return Descended(at.view(start.shape), best, earlier, blind)
