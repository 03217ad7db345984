"""Images that anyone can tell apart, and what the client knows of them."""

from __future__ import annotations

import torch

from splitlab.data import ImageSet

SIZE = 16


def flat(values: list[int], groups: list[int] | None = None) -> ImageSet:
    """Images of one grey each, uint8 [n, 3, 16, 16]; each its own group unless said otherwise."""
    pixels = torch.tensor(values, dtype=torch.uint8).view(-1, 1, 1, 1)
    count = len(values)
    return ImageSet(
        images=pixels.expand(count, 3, SIZE, SIZE).clone(),
        labels=torch.zeros(count, dtype=torch.int64),
        classes=("grey",),
        groups=torch.tensor(groups) if groups is not None else torch.arange(count),
        name="grey",
    )


def distinct(count: int, seed: int = 0) -> ImageSet:
    """Noise, another for each image; labels 0, 1, 2, 0 ..., groups of two."""
    pixels = torch.randint(
        0, 256, (count, 3, SIZE, SIZE), generator=torch.Generator().manual_seed(seed)
    )
    return ImageSet(
        images=pixels.to(torch.uint8),
        labels=torch.arange(count) % 3,
        classes=("a", "b", "c"),
        groups=torch.arange(count) // 2,
        name="distinct",
    )
