"""Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004), equal to scikit-image's.

That is `skimage.metrics.structural_similarity(..., channel_axis=0, gaussian_weights=True,
sigma=1.5, use_sample_covariance=False, data_range=1)`, to 1e-4.
"""

from __future__ import annotations

import torch
from torch import Tensor

from splitlab.contracts.metric import Metric
from splitlab.contracts.quantity import Digits
from splitlab.errors import BadInput
from splitlab.metrics.image.mse import checked

SIGMA = 1.5
C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 with K1 = 0.01, K2 = 0.03 and data range L = 1."""
CACHED = 2**18
"""Values that are compared at a time: what a core's cache holds, several times over."""


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
    rows = max(1, CACHED // true[0].numel()) if len(true) else 1
    pieces = zip(true.split(rows), guess.split(rows), strict=True)
    return torch.cat([_ssim(one, other, side) for one, other in pieces]).float()


def _ssim(true: Tensor, guess: Tensor, side: int) -> Tensor:
    mean_t, mean_g = _blur(true, side), _blur(guess, side)
    var_t = _blur(true * true, side) - mean_t * mean_t
    var_g = _blur(guess * guess, side) - mean_g * mean_g
    covariance = _blur(true * guess, side) - mean_t * mean_g
    light = (2 * mean_t * mean_g + C1) / (mean_t**2 + mean_g**2 + C1)
    structure = (2 * covariance + C2) / (var_t + var_g + C2)
    return (light * structure).flatten(1).mean(1)


def _blur(images: Tensor, side: int) -> Tensor:
    """Separable Gaussian mean over every window that lies wholly inside the image."""
    offsets = torch.arange(side, dtype=images.dtype, device=images.device) - side // 2
    bell = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    weights: list[float] = (bell / bell.sum()).tolist()
    return _mean_along(_mean_along(images, weights, -2), weights, -1)


def _mean_along(images: Tensor, weights: list[float], axis: int) -> Tensor:
    """Sums of shifted images: in double precision several times faster than a convolution."""
    length = images.shape[axis] - len(weights) + 1
    total = images.narrow(axis, 0, length) * weights[0]
    for start, weight in enumerate(weights[1:], 1):
        total.add_(images.narrow(axis, start, length), alpha=weight)
    return total


METRIC = Metric(
    "ssim",
    "1",
    "rises",
    title="SSIM",
    digits=Digits(brief=2),
    margin=0.02,
    resolved=0.01,
    bounds=(-1.0, 1.0),
    per_item=lambda truth, estimate, _: ssim(truth, estimate),
)
