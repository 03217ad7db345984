"""The numbers of a reproduction's table, each with all that is shown of it."""

from __future__ import annotations

from collections.abc import Mapping

from bench.reproduce.frame.experiment import MetricName
from splitlab.contracts.quantity import Digits, Quantity
from splitlab.metrics import METRICS

ACCURACY_CHANGE = Quantity(
    "accuracy_change",
    "points",
    "rises",
    title="accuracy change",
    brief="acc. [pts]",
    digits=Digits(means=2),
)
"""Of the victims' images that are classified rightly, against the undefended network."""
QUANTITIES: Mapping[MetricName, Quantity] = {
    "accuracy_change": ACCURACY_CHANGE,
    "ssim": METRICS.load("ssim"),
    "psnr": METRICS.load("psnr"),
}
