"""Random shift and flip of a whole batch at once, on the device, without per-image Python."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Shift by up to `shift` pixels each way, borders mirrored, and flip half of the images.

    A shift with a border is the usual "pad, then crop at random"; mirroring needs no padded copy.

    Args:
        shift: largest shift in pixels, less than the images' side.
        flip: whether half of the images are mirrored left to right.
    """

    shift: int = 4
    flip: bool = True

    def __call__(self, images: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Images [B, C, S, S] of any dtype -> the same shape and dtype, a new tensor.

        `rng` is a CPU generator, whatever the images' device, so that draws do not depend on it.
        """
        batch, channels, height, width = images.shape
        shifts = torch.randint(-self.shift, self.shift + 1, (2, batch, 1), generator=rng)
        flips = torch.rand(batch, 1, generator=rng) < (0.5 if self.flip else 0.0)
        rows = mirror(torch.arange(height) + shifts[0], height)
        columns = mirror(torch.arange(width) + shifts[1], width)
        columns = torch.where(flips, width - 1 - columns, columns)
        flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(batch, 1, -1)
        flat = flat.to(images.device, non_blocking=True).expand(-1, channels, -1)
        return images.reshape(batch, channels, -1).gather(2, flat).view_as(images)


def mirror(index: Tensor, length: int) -> Tensor:
    """Indices outside [0, length) reflected at the border pixels: -1 -> 1, length -> length - 2."""
    return (length - 1) - ((length - 1) - index.abs()).abs()
