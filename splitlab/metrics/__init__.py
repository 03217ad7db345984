"""How much an estimate reveals of the truth, and how sure we are of the mean.

`METRICS` maps a column's name to a `Metric`; `evaluate` computes any of them at once and says why a
column is empty. Images are float [B, 3, H, W] in [0, 1] throughout.
"""

from splitlab.metrics.evaluate import Column, evaluate
from splitlab.metrics.image.mse import mse
from splitlab.metrics.image.psnr import psnr, psnr_of_mean
from splitlab.metrics.image.ssim import ssim
from splitlab.metrics.intervals import Interval, mean_interval, set_interval
from splitlab.metrics.registry import METRICS

__all__ = [
    "METRICS",
    "Column",
    "Interval",
    "evaluate",
    "mean_interval",
    "mse",
    "psnr",
    "psnr_of_mean",
    "set_interval",
    "ssim",
]
