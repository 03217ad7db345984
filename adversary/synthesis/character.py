"""In what images differ from photographs that a network's batch norms hardly tell: colours that go
together, brightness that varies from image to image, and little that is fine.
"""

from __future__ import annotations

import torch
from torch import Tensor

FINE = 0.25
"""Cycles a pixel from which on a detail counts as fine; the finest possible has half a cycle."""


def character(images: Tensor) -> dict[str, float]:
    """What a set of images is like.

    Args:
        images: uint8 [N, C, S, S], at least two.

    Returns:
        spread: standard deviation of the images' mean brightness, of a pixel range of 1.
        colours_together: mean correlation of two channels over all pixels, of those that vary; 1
            where there are no two.
        fine: share of the power of an image, its mean left out, that is fine; of white noise 0.8.
    """
    pixels = images.float() / 255
    means = pixels.mean((2, 3), keepdim=True)
    flat = pixels.transpose(0, 1).flatten(1)
    flat = flat[flat.std(1) > 0]
    pairs = torch.triu_indices(len(flat), len(flat), 1).unbind()
    together = torch.corrcoef(flat)[pairs] if len(flat) > 1 else torch.ones(1)
    power = torch.fft.fft2(pixels - means).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(pixels.shape[-1], device=images.device)
    fine = torch.hypot(frequency[:, None], frequency[None]) >= FINE
    return {
        "spread": round(float(pixels.mean((1, 2, 3)).std()), 4),
        "colours_together": round(float(together.mean()), 4),
        "fine": round(float(power[fine].sum() / power.sum().clamp_min(1e-12)), 4),
    }
