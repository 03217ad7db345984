"""A trained, defended split network that stays as it is while something is learned around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from splitlab.deployment.halves import Halves
from splitlab.randomness import Draw

Protect = Callable[[Tensor], Tensor]
"""z [B, *feature_shape] -> z', by what is being learned."""


class Frozen:
    """Head, bodies and tail of `halves`, and the protectors other than the one at `place`.

    What a defence does after the bodies is not part of it.
    """

    def __init__(self, halves: Halves, place: int) -> None:
        self.halves = halves
        self.before, self.after = halves.protectors[:place], halves.protectors[place + 1 :]

    @torch.no_grad()
    def feature(self, images: Tensor, draw: Draw) -> Tensor:
        """[B, 3, S, S] in [0, 1] -> z as the protector at `place` is handed it."""
        feature: Tensor = self.halves.head(images)
        for protector in self.before:
            feature = protector(feature, draw)
        return feature

    def logits(self, feature: Tensor, draw: Draw) -> Tensor:
        """z as the protector at `place` hands it on -> logits; a gradient leads back to z."""
        for protector in self.after:
            feature = protector(feature, draw)
        # A body that is not chosen is not run: nobody looks at what stands in its place.
        blank = feature.new_zeros(len(feature), 0)
        chosen = self.halves.selector.chosen
        outputs = [
            body(feature) if i in chosen else blank for i, body in enumerate(self.halves.bodies)
        ]
        return self.halves.tail(self.halves.selector(outputs))


@contextmanager
def frozen(halves: Halves, place: int, device: torch.device) -> Iterator[Frozen]:
    """The network of `halves` on `device`, in eval mode and without gradients of its own.

    After the block it lies on the CPU again; not a bit of it has changed.
    """
    modules: list[nn.Module] = [halves.head, *halves.bodies, halves.tail, halves.protectors]
    learns = [(p, p.requires_grad) for module in modules for p in module.parameters()]
    for module in modules:
        module.to(device).to(memory_format=torch.channels_last)
        module.eval().requires_grad_(False)
    try:
        yield Frozen(halves, place)
    finally:
        for module in modules:
            module.to("cpu").to(memory_format=torch.contiguous_format)
        for parameter, learned in learns:
            parameter.requires_grad_(learned)
