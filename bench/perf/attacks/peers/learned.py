"""What the learned peers have in common: shuffled batches of pairs, Adam, one loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from bench.perf.attacks.peers.peer import Exposed

Error = Callable[[Tensor, Tensor], Tensor]
"""(answer, truth), both [B, 3, S, S] as the network gives them -> a number."""


class PeerInverse:
    """A network z -> images that learns from pairs, epoch after epoch; its last weights answer.

    None is held out: validation images are pairs to it.

    Args:
        net: it, with its first weights.
        error: what it minimises.
        rate: of Adam.
        batch: pairs a step; of an epoch's rest too.
        to, back: from pixels in [0, 1] to what the network gives, and back.
    """

    def __init__(
        self,
        shown: Exposed,
        net: nn.Module,
        error: Error,
        *,
        rate: float,
        batch: int,
        to: Callable[[Tensor], Tensor] = lambda pixels: pixels,
        back: Callable[[Tensor], Tensor] = lambda given: given,
    ) -> None:
        self.net, self._error, self._back = net.train(), error, back
        self._features, self._batch = shown.features, batch
        self._images, self._answers = to(shown.pairs), shown.answers
        self._optimizer = torch.optim.Adam(net.parameters(), lr=rate)
        self._batches = self._epochs(shown.rng)

    def _epochs(self, rng: torch.Generator) -> Iterator[Tensor]:
        while True:
            yield from torch.randperm(len(self._images), generator=rng).split(self._batch)

    def step(self) -> float:
        rows = next(self._batches)
        loss = self._error(self.net(self._answers[rows]), self._images[rows])
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def answer(self) -> Tensor:
        self.net.eval()
        with torch.no_grad():
            images = self._back(self.net(self._features)).clamp(0, 1)
        self.net.train()
        return images
