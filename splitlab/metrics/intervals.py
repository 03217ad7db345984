"""The mean and its 95 % interval, by the bootstrap over independent groups (Efron 1979)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from splitlab.errors import BadInput
from splitlab.randomness import generator


class Interval(NamedTuple):
    """A mean with the ends of its 95 % interval; the ends are None with fewer than two groups."""

    mean: float
    low: float | None
    high: float | None


def mean_interval(values: Tensor, groups: Tensor, n_boot: int = 2_000, seed: int = 0) -> Interval:
    """Mean over all images, and its 95 % percentile interval over resampled groups.

    Images of one group (crops of one photograph) are not independent, so whole groups are drawn
    with replacement and the mean is taken over all images of the groups drawn. With fewer than
    about ten groups such an interval is too narrow; it is the reader's to see how many there are.

    Args:
        values: float [B], finite.
        groups: int64 [B], the independent unit each value belongs to.
        n_boot: number of resamples.
        seed: public seed of the resampling.

    Raises:
        BadInput: no values, values that are not finite, or shapes that differ.
    """
    if values.ndim != 1 or values.shape != groups.shape or len(values) == 0:
        raise BadInput(
            f"an interval needs values [B] and groups [B] with B > 0, given "
            f"{tuple(values.shape)} and {tuple(groups.shape)}"
        )
    if not values.isfinite().all():
        raise BadInput("a value is NaN or infinite; a mean over it says nothing")
    data = values.detach().double().cpu()
    names, place = groups.cpu().unique(return_inverse=True)
    mean, count = float(data.mean()), len(names)
    if count < 2:
        return Interval(mean, None, None)
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, place, data)
    sizes = torch.zeros_like(sums).index_add_(0, place, torch.ones_like(data))
    drawn = torch.randint(count, (n_boot, count), generator=generator(seed, "bootstrap"))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return Interval(mean, float(low), float(high))
