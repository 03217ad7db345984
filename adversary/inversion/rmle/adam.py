"""Adam on many images at once, each with its own learning rate and weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from adversary.parts.lbfgs import Descended

Losses = Callable[[Tensor], tuple[Tensor, Tensor]]


def descend(
    losses: Losses,
    start: Tensor,
    rates: Sequence[float],
    low: Tensor,
    high: Tensor,
    boxes: Sequence[bool],
    steps: int,
    goes_on: Callable[[], bool] | None = None,
) -> Descended:
    """Steps of Adam (AMSGrad, eps 1e-3); what a row ends with is its last image, not its best.

    Args:
        losses: pixels [B, 3, S, S] -> (what is watched [B], what is minimised [B]).
        start: [B, 3, S, S].
        rates: one a row, in units of pixels a step.
        low, high: where pixels of a row are kept that is in `boxes`, [3, 1, 1] each.
        steps: at least 1.
        goes_on: told of each step; stops where it says no.
    """
    device = start.device
    # One tensor for each learning rate: Adam works element by element, and once a step on each.
    of = [[n for n, own in enumerate(rates) if own == rate] for rate in sorted(set(rates))]
    place = torch.tensor([n for rows in of for n in rows], device=device).argsort()
    leaves = [start[rows].detach().clone().requires_grad_() for rows in of]
    optimizer = torch.optim.Adam(
        [{"params": [leaf], "lr": rates[rows[0]]} for leaf, rows in zip(leaves, of, strict=True)],
        eps=1e-3,
        amsgrad=True,
    )
    boxed = [
        torch.tensor([boxes[n] for n in rows], device=device)[:, None, None, None] for rows in of
    ]
    watched = earlier = torch.zeros(len(start), device=device)
    blind = torch.zeros(len(start), dtype=torch.bool, device=device)
    for step in range(steps):
        pixels = torch.cat(leaves)[place] if len(leaves) > 1 else leaves[0]
        watched, total = losses(pixels)
        if step == 0:
            (slope,) = torch.autograd.grad(watched.sum(), pixels, retain_graph=True)
            blind = slope.flatten(1).abs().amax(1) == 0
        if step == steps - 1 - steps // 10:
            earlier = watched.detach()
        optimizer.zero_grad(set_to_none=True)
        total.sum().backward()
        optimizer.step()
        with torch.no_grad():
            for leaf, inside in zip(leaves, boxed, strict=True):
                leaf.copy_(torch.where(inside, leaf.clamp(low, high), leaf))
        if goes_on is not None and not goes_on():
            break
    return Descended(torch.cat(leaves)[place].detach(), watched.detach(), earlier, blind)
