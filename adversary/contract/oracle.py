"""An oracle: it answers images that the adversary chooses, as the deployed network does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from splitlab.contracts.seen import Answers, answered


class Oracle:
    """Whoever may ask the deployed network; no gradient passes.

    Args:
        net: images [n, 3, S, S] in [0, 1] -> logits [n, classes].
        answers: with what it answers.

    `queries` says how many images it was asked for.
    """

    def __init__(self, net: Callable[[Tensor], Tensor], answers: Answers = "logits") -> None:
        self._net, self.answers = net, answers
        self.queries = 0

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Logits or probabilities float [n, classes], or labels int64 [n]."""
        self.queries += len(images)
        return answered(self._net(images.detach().cpu()), self.answers)

    def answering(self, answers: Answers) -> Self:
        """One of the same network that answers so, and has not been asked yet."""
        return type(self)(self._net, answers)
