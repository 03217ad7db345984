"""Mean squared error per image, on pixels in [0, 1]."""

from __future__ import annotations

from torch import Tensor

from splitlab.contracts.metric import Metric
from splitlab.contracts.quantity import Digits
from splitlab.errors import BadInput


def checked(truth: Tensor, estimate: Tensor) -> tuple[Tensor, Tensor]:
    """Both batches clamped to [0, 1] in double precision, after a check of their shapes.

    Raises:
        BadInput: the shapes differ, are not [B, C, H, W], or a value is NaN or infinite.
    """
    if truth.shape != estimate.shape or truth.ndim != 4:
        raise BadInput(
            f"images of shape {tuple(truth.shape)} and {tuple(estimate.shape)} cannot be compared; "
            "give two float batches of one shape [B, C, H, W]"
        )
    if not (truth.isfinite().all() and estimate.isfinite().all()):
        raise BadInput("an image holds NaN or infinite values; clamp it to [0, 1] before comparing")
    return truth.double().clamp(0, 1), estimate.double().clamp(0, 1)


def mse(truth: Tensor, estimate: Tensor) -> Tensor:
    """Mean of the squared pixel differences of each image.

    Args:
        truth: float [B, C, H, W] in [0, 1]; values outside are clamped, in both arguments.
        estimate: the same shape.

    Returns:
        float32 [B], 0 for equal images, at most 1.
    """
    true, guess = checked(truth, estimate)
    return (true - guess).square().flatten(1).mean(1).float()


METRIC = Metric(
    "mse",
    "1",
    "falls",
    title="MSE",
    digits=Digits(means=4),
    tabled=False,
    bounds=(0.0, 1.0),
    per_item=lambda truth, estimate, _: mse(truth, estimate),
)
