"""A small order: a tiny network to be trained on a few images that can be told apart."""

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
    """Noise whose mean colour is its class; uint8 [count, 3, 16, 16]."""
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 3
    pixels = torch.randint(0, 100, (count, 3, 16, 16), generator=source)
    pixels[torch.arange(count), labels] += 100
    return ImageSet(pixels.to(torch.uint8), labels, CLASSES, torch.arange(count))


def small_order(**changes: Any) -> Order:
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
