"""Peak signal-to-noise ratio per image in dB, peak 1."""

from __future__ import annotations

import torch
from torch import Tensor

from splitlab.contracts.metric import Metric
from splitlab.contracts.quantity import Digits
from splitlab.metrics.image.mse import mse

CEILING_DB = 100.0
"""Equal images would be infinite and could be neither averaged nor written as JSON."""


def psnr(truth: Tensor, estimate: Tensor) -> Tensor:
    """10 log10(1 / MSE) of each image, at most `CEILING_DB` (reached at an MSE of 1e-10).

    The table's mean is the mean of these values (`PSNR_mean`), not the PSNR of the mean error.

    Args:
        truth: float [B, C, H, W] in [0, 1]; values outside are clamped, in both arguments.
        estimate: the same shape.

    Returns:
        float32 [B] in dB.
    """
    return _decibel(mse(truth, estimate))


def psnr_of_mean(errors: Tensor) -> float:
    """PSNR in dB of the mean of the MSE values [B]; by Jensen never above the mean PSNR."""
    return float(_decibel(errors.mean()))


def _decibel(error: Tensor) -> Tensor:
    return -10.0 * torch.log10(error.clamp_min(10 ** (-CEILING_DB / 10)))


METRIC = Metric(
    "psnr",
    "dB",
    "rises",
    title="PSNR",
    digits=Digits(table=1, brief=1, means=2),
    margin=0.5,
    clear=3.0,
    resolved=0.2,
    bounds=(0.0, CEILING_DB),
    per_item=lambda truth, estimate, _: psnr(truth, estimate),
)
