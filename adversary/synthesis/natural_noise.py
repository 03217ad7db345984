"""Noise whose spectrum and colours are those of photographs in general: where a search for images
may start that knows none.

The amplitude of natural images falls as one over the frequency (Field 1987, "Relations between the
statistics of natural images and the response properties of cortical cells"), and most of their
variance is common to the three channels (Ruderman, Cronin and Chiao 1998, "Statistics of cone
responses to natural images"). How large that share is and how much an image's mean varies were set
by hand, the latter after a look at auxiliary images of `photo-patches`.
"""

from __future__ import annotations

import torch
from torch import Tensor

GREY = 0.9
"""Share of a channel's variance that it has in common with the others."""
SLOWEST = 1 / 3
"""Cycles an image whose amplitude its mean has: an image is a piece of a larger scene, and waves
longer than itself are what it is bright or dark by."""


def natural_noise(count: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
    """[count, C, H, W], of variance 1 over all elements; its mean is 0 but for chance."""
    channels, height, width = shape
    common = torch.randn(count, 1, height, width, generator=rng)
    own = torch.randn(count, channels, height, width, generator=rng)
    white = GREY**0.5 * common + (1 - GREY) ** 0.5 * own
    down = torch.fft.fftfreq(height)[:, None] * height
    across = torch.fft.rfftfreq(width)[None] * width
    amplitude = 1 / torch.hypot(down, across).clamp_min(SLOWEST)
    smooth = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=(height, width))
    return smooth / smooth.std()
