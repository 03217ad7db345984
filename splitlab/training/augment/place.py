"""Where the image lies: random shift, flip and crop of a whole batch, without per-image Python."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shifted(images: Tensor, shift: int, flip: bool, rng: torch.Generator | None = None) -> Tensor:
    """Each image shifted by up to `shift` pixels each way, borders mirrored; half of them flipped.

    Args:
        images: [B, C, S, S] of any dtype.
        rng: a CPU generator.

    Returns:
        A new tensor of the same shape and dtype; mirroring needs no padded copy.
    """
    batch, channels, height, width = images.shape
    shifts = torch.randint(-shift, shift + 1, (2, batch, 1), generator=rng)
    flips = torch.rand(batch, 1, generator=rng) < (0.5 if flip else 0.0)
    rows = mirror(torch.arange(height) + shifts[0], height)
    columns = mirror(torch.arange(width) + shifts[1], width)
    columns = torch.where(flips, width - 1 - columns, columns)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(batch, 1, -1)
    flat = flat.to(images.device, non_blocking=True).expand(-1, channels, -1)
    return images.reshape(batch, channels, -1).gather(2, flat).view_as(images)


def cropped(images: Tensor, smallest: float, rng: torch.Generator | None = None) -> Tensor:
    """A square of `smallest` to 1 of each image's area, anywhere in it, resized to the whole.

    RandomResizedCrop of ratio 1, bilinear; its corners need not lie between pixels.

    Args:
        images: float [B, C, S, S].
        rng: a CPU generator.
    """
    drawn = torch.rand(3, len(images), generator=rng)
    side = (smallest + (1 - smallest) * drawn[0]).sqrt()
    centre = (2 * drawn[1:] - 1) * (1 - side)  # in halves of the image, from its middle
    grid = torch.zeros(len(images), 2, 3)
    grid[:, 0, 0] = grid[:, 1, 1] = side
    grid[:, :, 2] = centre.T
    places = F.affine_grid(grid.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, places, padding_mode="border", align_corners=False)


def mirror(index: Tensor, length: int) -> Tensor:
    """Indices outside [0, length) reflected at the border pixels: -1 -> 1, length -> length - 2."""
    return (length - 1) - ((length - 1) - index.abs()).abs()
