"""How near recovered latents are to the true ones, and to what a generator is fed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitlab.contracts.metric import Context, Metric, Rows
from splitlab.errors import BadInput, Unavailable
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM


def latent_error(truth: Tensor, estimate: Tensor) -> Tensor:
    """mean |z - z'| of each latent: float32 [B].

    Args:
        truth, estimate: float [B, D].

    Raises:
        BadInput: shapes that differ.
    """
    if truth.shape != estimate.shape or truth.ndim != 2:
        raise BadInput(
            f"latents of shape {tuple(truth.shape)} and {tuple(estimate.shape)} cannot be "
            "compared; give two of one shape [B, D]"
        )
    return (estimate - truth).abs().mean(1)


def normality(latents: Tensor) -> float:
    """Kolmogorov-Smirnov distance of all coordinates to N(0, 1), 0 to 1; 0 for the same."""
    levels = torch.special.ndtr(latents.flatten().double().sort().values)
    steps = torch.arange(len(levels) + 1, dtype=torch.float64) / len(levels)
    return float(torch.maximum(steps[1:] - levels, levels - steps[:-1]).max())


def zero(own: Any) -> Tensor:
    """The floor: the mean of N(0, I) in place of every latent.

    Args:
        own: the adversary's latents [N, D].
    """
    return torch.zeros(own.shape[1:])


def _estimates(truth: Tensor, estimate: Tensor, context: Context) -> Rows:
    del truth, context
    return (estimate,)


ERROR = Metric(
    "latent_error",
    "1",
    "falls",
    title="mean |z - z'|",
    margin=0.0,
    bounds=(0.0, None),
    per_item=lambda truth, estimate, _: latent_error(truth, estimate),
)
NORMALITY = Metric(
    "latent_ks",
    "1",
    "falls",
    title="KS to N(0, 1)",
    bounds=(0.0, 1.0),
    prepare=_estimates,
    per_set=lambda rows: normality(rows[0]),
    resamples=200,
)


def _again(of: Metric) -> Metric:
    """A metric of images as one of latents: what the generator makes of both is compared."""

    def per_item(truth: Tensor, estimate: Tensor, context: Context) -> Tensor:
        if (generate := context.get("generate")) is None:
            raise Unavailable("no generator is at hand")
        assert of.per_item is not None
        return of.per_item(generate(truth), generate(estimate), context)

    return Metric(
        f"second_generation_{of.name}",
        of.unit,
        of.leakage,
        title=f"{of.title}(x, x'')",
        digits=of.digits,
        bounds=of.bounds,
        needs=("generate",),
        per_item=per_item,
    )


SECOND_PSNR, SECOND_SSIM = _again(PSNR), _again(SSIM)
