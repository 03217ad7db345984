"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), equal to scikit-image's.

That is `skimage.metrics.structural_similarity(..., channel_axis=0, gaussian_weights=True,
sigma=1.5, use_sample_covariance=False, data_range=1)`, to 1e-4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from splitlab.contracts.metric import Metric
from splitlab.errors import BadInput
from splitlab.image_quality.mse import checked

SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03 and data range L = 1."""


def window_side(height: int, width: int) -> int:
    """Side of the Gaussian window in pixels: 11, and 7 where an image is smaller than that.

    Raises:
        BadInput: an image below 7 pixels.
    """
    if min(height, width) < 7:
        raise BadInput(f"SSIM needs images of 7x7 pixels or more, given {height}x{width}")
    return 11 if min(height, width) >= 11 else 7


def ssim(truth: Tensor, estimate: Tensor) -> Tensor:
    """Mean SSIM of each image: per channel over all whole windows, then over channels.

    Images below 11 pixels are compared with a window of 7 (`window_side`).

    Args:
        truth: float [B, C, H, W] in [0, 1]; values outside are clamped, in both arguments.
        estimate: the same shape.

    Returns:
        float32 [B] in [-1, 1], 1 for equal images.
    """
    true, guess = checked(truth, estimate)
    side = window_side(true.shape[-2], true.shape[-1])
    mean_t, mean_g = _blur(true, side), _blur(guess, side)
    var_t = _blur(true * true, side) - mean_t * mean_t
    var_g = _blur(guess * guess, side) - mean_g * mean_g
    covariance = _blur(true * guess, side) - mean_t * mean_g
    light = (2 * mean_t * mean_g + C1) / (mean_t**2 + mean_g**2 + C1)
    structure = (2 * covariance + C2) / (var_t + var_g + C2)
    return (light * structure).flatten(1).mean(1).float()


def _blur(images: Tensor, side: int) -> Tensor:
    """Separable Gaussian mean over every window that lies wholly inside the image."""
    offsets = torch.arange(side, dtype=images.dtype, device=images.device) - side // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights = weights / weights.sum()
    flat = images.flatten(0, 1).unsqueeze(1)
    flat = F.conv2d(flat, weights.view(1, 1, -1, 1))
    flat = F.conv2d(flat, weights.view(1, 1, 1, -1))
    return flat.view(*images.shape[:2], *flat.shape[-2:])


METRIC = Metric(name="ssim", unit="1", leakage="rises", per_item=ssim)
