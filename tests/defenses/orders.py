"""Small orders for tests: a tiny network on a few images that can be told apart."""

from __future__ import annotations

import torch

from defenses.parts.testing.small_order import ARCH, CLASSES, images
from defenses.parts.testing.small_order import small_order as order

__all__ = ["ARCH", "CLASSES", "Killed", "Killer", "images", "order"]


class Killed(Exception):
    """Raised by `Killer`."""


class Killer:
    """A progress display that ends the run once `images` images were trained on.

    Args:
        images: how many may pass; None for all.
    """

    def __init__(self, images: int | None = None) -> None:
        self.left, self.seen = images, 0
        self.names: list[str] = []

    def task(self, name: str, total: int, done: int = 0) -> Killer:
        self.names.append(f"{name}: {done}/{total}")
        return self

    def advance(self, count: int, loss: torch.Tensor | float | None = None) -> None:
        del loss
        self.seen += count
        if self.left is not None and self.seen > self.left:
            raise Killed

    def close(self) -> None:
        pass
