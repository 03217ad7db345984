"""A mean, or one number of a whole set, with its 95 % interval, by the bootstrap over independent
groups (Efron 1979).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from splitlab.contracts.metric import PerDraw, PerSet, Rows
from splitlab.errors import BadInput, Unavailable
from splitlab.randomness import generator

BIAS = 0.25
"""Of the resamples' deviation: what is nearer to the number counts as no bias."""
ROUNDING = 1e-9
CHUNK = 100
"""Resamples that are counted at once; 1.6 MB of weights for 2,000 rows."""


class Interval(NamedTuple):
    """A mean, or a set's number, with the ends of its 95 % interval.

    The ends are None with fewer than two groups.
    """

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
    drawn = _drawn(count, n_boot, seed)
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    return Interval(mean, *_ends(means))


def set_interval(
    per_set: PerSet,
    rows: Rows,
    groups: Tensor,
    n_boot: int = 2_000,
    seed: int = 0,
    *,
    per_draw: PerDraw | None = None,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Interval:
    """One number of all rows, and its interval over resampled groups, drawn as for a mean.

    Whole groups are drawn with replacement, as many as there are, and `per_set` is asked again of
    all rows of the groups drawn. A resample on which it is not defined (no member was drawn) says
    nothing; where that is more than one in twenty there is no interval.

    A resample repeats rows, and some numbers move one way by that alone: a largest distance grows.
    Where the resamples' mean is off the number by more than a quarter of their deviation (Efron and
    Tibshirani 1993, section 10.3) they are shifted by it; else the ends are their percentiles.

    Args:
        rows: [B, ...] each, row by row.
        groups: int64 [B], the independent unit each row belongs to.
        per_draw: `per_set` of many resamples at once, if there is one.
        bounds: of the number, which no shift passes.

    Raises:
        BadInput: no rows, shapes that differ, or a number that is not finite.
        Unavailable: the number is not defined on these rows.
    """
    if groups.ndim != 1 or not len(groups) or any(len(one) != len(groups) for one in rows):
        told = ", ".join(str(tuple(one.shape)) for one in rows) or "none"
        raise BadInput(
            f"an interval needs rows [B, ...] and groups [B] with B > 0, given {told} and "
            f"{tuple(groups.shape)}"
        )
    value = per_set(rows)
    if not math.isfinite(value):
        raise BadInput(f"the rows give {value}; a number that is not finite says nothing")
    _, place, sizes = groups.cpu().unique(return_inverse=True, return_counts=True)
    count = len(sizes)
    if count < 2:
        return Interval(value, None, None)
    drawn = _drawn(count, n_boot, seed)
    if per_draw is not None:
        found = _by_weights(per_draw, rows, place, drawn)
    else:
        found = _one_by_one(per_set, rows, place, sizes, drawn)
    if len(found) < 0.95 * n_boot:
        return Interval(value, None, None)
    bias = float(found.mean()) - value
    if len(found) < 2 or abs(bias) <= BIAS * float(found.std()) + ROUNDING * abs(value):
        return Interval(value, *_ends(found))
    least = -math.inf if bounds[0] is None else bounds[0]
    most = math.inf if bounds[1] is None else bounds[1]
    low, high = _ends((found - bias).clamp(least, most))
    return Interval(value, min(low, value), max(high, value))


def _by_weights(per_draw: PerDraw, rows: Rows, place: Tensor, drawn: Tensor) -> Tensor:
    """The number of each resample in which it is defined, float64 [up to n_boot]."""
    found = []
    for some in drawn.split(CHUNK):
        times = torch.zeros(len(some), drawn.shape[1], dtype=torch.float64)
        times.scatter_add_(1, some, torch.ones_like(some, dtype=torch.float64))
        found.append(per_draw(rows, times[:, place]).double().cpu())
    values = torch.cat(found)
    return values[values.isfinite()]


def _one_by_one(per_set: PerSet, rows: Rows, place: Tensor, sizes: Tensor, drawn: Tensor) -> Tensor:
    """The same, of rows that are repeated as often as they were drawn."""
    order = place.argsort(stable=True)
    starts = sizes.cumsum(0) - sizes
    found = []
    for some in drawn:
        lengths = sizes[some]
        ends = lengths.cumsum(0)
        within = torch.arange(int(ends[-1])) - (ends - lengths).repeat_interleave(lengths)
        chosen = order[starts[some].repeat_interleave(lengths) + within]
        try:
            found.append(per_set(tuple(one[chosen.to(one.device)] for one in rows)))
        except Unavailable:
            continue
    return torch.tensor(found, dtype=torch.float64)


def _drawn(count: int, n_boot: int, seed: int) -> Tensor:
    """int64 [n_boot, count]: groups of each resample."""
    return torch.randint(count, (n_boot, count), generator=generator(seed, "bootstrap"))


def _ends(values: Tensor) -> tuple[float, float]:
    low, high = torch.quantile(values, torch.tensor([0.025, 0.975], dtype=torch.float64))
    return float(low), float(high)
