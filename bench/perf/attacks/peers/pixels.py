"""What the peers that descend on pixels have in common: one Adam over normalised pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.perf.attacks.peers.peer import Exposed, normalisers

EPS = 1e-3


class PixelDescent:
    """Minimises mean((head(x) - z)^2) + tv TV(x) + l2 mean(x^2) for each victim, side by side.

    Each has its own mean, so that its slope is that of a batch of one, as the originals have.

    Args:
        start: normalised pixels [n, 3, S, S].
        rate: of Adam (AMSGrad, eps 1e-3), in normalised pixels.
        tv, l2: weights of the total variation and of the squared pixels, both normalised.
    """

    def __init__(
        self, shown: Exposed, start: Tensor, *, rate: float, tv: float = 0.0, l2: float = 0.0
    ) -> None:
        self._head, self._target = shown.head, shown.features
        self._tv, self._l2 = tv, l2
        self._mean, self._std = normalisers(shown.input)
        self._pixels = start.clone().requires_grad_()
        self._optimizer = torch.optim.Adam([self._pixels], lr=rate, eps=EPS, amsgrad=True)

    def step(self) -> float:
        seen = self._head(self._pixels * self._std + self._mean)
        losses = (seen - self._target).square().flatten(1).mean(1)
        if self._tv:
            losses = losses + self._tv * variation(self._pixels)
        if self._l2:
            losses = losses + self._l2 * self._pixels.square().flatten(1).mean(1)
        loss = losses.sum()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.detach()) / len(losses)

    def answer(self) -> Tensor:
        return (self._pixels.detach() * self._std + self._mean).clamp(0, 1)


def variation(pixels: Tensor) -> Tensor:
    """Mean squared step down plus mean squared step across, of each image: [n]."""
    down = pixels.diff(dim=-2).square().flatten(1).mean(1)
    across = pixels.diff(dim=-1).square().flatten(1).mean(1)
    return down + across
