"""Orders for networks of a few thousand parameters on images that a colour gives away."""

from __future__ import annotations

from typing import Any

import torch

from defenses import parse
from defenses.prepare import Order, prepare
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import ImageSet
from splitlab.deployment import Halves
from splitlab.randomness import Secret
from splitlab.training import TrainRecipe

CLASSES = ("red", "green", "blue")
ARCH = ArchSpec(name="tiny_cnn", classes=3, input=InputSpec(size=16))


def coloured(count: int = 96, seed: int = 0) -> ImageSet:
    """Noise, brighter in the channel of the label; uint8 [count, 3, 16, 16]."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = 0.6 * torch.rand(count, 3, 16, 16, generator=g)
    pixels[torch.arange(count), labels] += 0.2
    images = pixels.mul(255).byte()
    return ImageSet(images, labels, CLASSES, torch.arange(count), name="coloured")


def order(**changes: Any) -> Order:
    """Cut after the first block, tail from the pool on; six epochs take a second."""
    fields: dict[str, Any] = {
        "arch": ARCH,
        "head_end": "block1",
        "tail_start": "pool",
        "images": coloured(),
        "recipe": TrainRecipe(epochs=6, batch_size=16, flip=False),
        "seed": 0,
        "secret": Secret.new(secret_seed=1),
        "device": "cpu",
    }
    return Order(**{**fields, **changes})


def prepared(text: str, **changes: Any) -> Halves:
    """The halves of a defence, trained from the start."""
    return prepare(parse(text), order(**changes))


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of its state dict."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Same names, same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
