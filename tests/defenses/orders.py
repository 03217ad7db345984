"""Small orders for tests: a tiny network on a few images that can be told apart."""

from __future__ import annotations

from typing import Any

import torch

from defenses.parts.prepare import Order
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import ImageSet
from splitlab.randomness import Secret
from splitlab.training import TrainRecipe

CLASSES = ("a", "b", "c")
ARCH = ArchSpec(name="tiny_cnn", classes=3, input=InputSpec(size=16))


def images(count: int = 48) -> ImageSet:
    """Noise whose mean colour is its class."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 100, (count, 3, 16, 16), generator=source)
    pixels[torch.arange(count), labels] += 100
    return ImageSet(pixels.to(torch.uint8), labels, CLASSES, torch.arange(count))


def order(**changes: Any) -> Order:
    """Two epochs on 48 images, in this process, one network after another."""
    fields: dict[str, Any] = {
        "arch": ARCH,
        "head_end": "block1",
        "tail_start": "pool",
        "images": images(),
        "recipe": TrainRecipe(epochs=2, batch_size=16),
        "seed": 0,
        "secret": Secret.new(1),
        "device": "cpu",
        "together": "one after another",
    }
    return Order(**{**fields, **changes})


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
