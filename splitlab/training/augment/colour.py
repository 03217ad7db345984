"""Colour jitter as torchvision's `ColorJitter` does it, with factors of each image's own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey value (ITU-R BT.601), torchvision's digits."""


@dataclass(frozen=True)
class Jitter:
    """Brightness, contrast, saturation and hue, in an order drawn for the batch.

    Args:
        brightness, contrast, saturation: factors lie in [max(0, 1 - it), 1 + it].
        hue: turns of the colour circle lie in [-it, it]; at most 0.5.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def __call__(self, images: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Float [B, 3, S, S] in [0, 1] -> the same; with all at 0 the very same tensor."""
        drawn = torch.rand(4, len(images), generator=rng).to(images)
        amounts = (self.brightness, self.contrast, self.saturation, self.hue)
        changes = (brightened, contrasted, saturated, turned)
        for number in torch.randperm(4, generator=rng).tolist():
            amount, change = amounts[number], changes[number]
            if amount:
                low, high = (-amount, amount) if number == 3 else (max(0, 1 - amount), 1 + amount)
                images = change(images, low + (high - low) * drawn[number])
        return images


def brightened(images: Tensor, factor: Tensor) -> Tensor:
    """Times `factor` [B], cut off at 1."""
    return (images * _each(factor)).clamp(0, 1)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """Away from the image's mean grey value by `factor` [B]; 0 leaves that alone."""
    return _blended(images, _grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturated(images: Tensor, factor: Tensor) -> Tensor:
    """Away from each pixel's grey value by `factor` [B]; 0 leaves that alone."""
    return _blended(images, _grey(images), factor)


def turned(images: Tensor, turns: Tensor) -> Tensor:
    """The hue of each pixel moved by `turns` [B] of the colour circle; grey has none."""
    red, green, blue = images.unbind(1)
    high, low = images.amax(1), images.amin(1)
    chroma = high - low
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    sector = torch.where(
        high == red,
        (green - blue) / safe,
        torch.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * turns[:, None, None]
    channels = []
    for first in (5, 3, 1):
        place = (first + sector) % 6
        channels.append(high - chroma * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, 1)


def _blended(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    share = _each(factor)
    return (share * images + (1 - share) * other).clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    """[B, 3, S, S] -> [B, 1, S, S]."""
    return (images * images.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)


def _each(factor: Tensor) -> Tensor:
    """[B] -> [B, 1, 1, 1]."""
    return factor[:, None, None, None]
