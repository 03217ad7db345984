"""Orders whose networks learn something, though not everything, and what to compare them by."""

from __future__ import annotations

from typing import Any

import orders
import torch
from orders import CLASSES

from defenses import parse
from defenses.parts.prepare import Order, prepare
from splitlab.data import ImageSet
from splitlab.deployment import Halves
from splitlab.training import TrainRecipe


def coloured(count: int = 96, seed: int = 0) -> ImageSet:
    """Noise, a little brighter in the channel of the label; uint8 [count, 3, 16, 16]."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    pixels = 0.6 * torch.rand(count, 3, 16, 16, generator=g)
    pixels[torch.arange(count), labels] += 0.2
    images = pixels.mul(255).byte()
    return ImageSet(images, labels, CLASSES, torch.arange(count), name="coloured")


def order(**changes: Any) -> Order:
    """Cut after the first block, tail from the pool on; six epochs take a second."""
    recipe = TrainRecipe(epochs=6, batch_size=16, flip=False)
    return orders.order(**{"images": coloured(), "recipe": recipe, **changes})


def prepared(text: str, **changes: Any) -> Halves:
    """The halves of a defence, trained from the start."""
    return prepare(parse(text), order(**changes))


def tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of its state dict."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Same names, same bits."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
