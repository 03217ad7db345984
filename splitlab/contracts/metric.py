"""What a metric is: a pure function, with name, unit and direction as data beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch import Tensor

from splitlab.contracts.quantity import Quantity

Context = Mapping[str, Any]
"""What truth and estimate do not hold: a gallery, an independent network, a folder of weights."""
Rows = tuple[Tensor, ...]
"""Tensors [B, ...] that belong together row by row."""
PerItem = Callable[[Tensor, Tensor, Context], Tensor]
Prepare = Callable[[Tensor, Tensor, Context], Rows]
PerSet = Callable[[Rows], float]
PerDraw = Callable[[Rows, Tensor], Tensor]


@dataclass(frozen=True)
class Metric(Quantity):
    """One measure of what an estimate reveals.

    Either `per_item` (truth, estimate, context -> [B]), whose mean is the metric, or `per_set`,
    one number of all rows, with `prepare`, which makes the rows once, so that the resamples of an
    interval embed nothing again.

    Args:
        per_set: raises `Unavailable` where the metric is not defined on these rows.
        per_draw: the same of many resamples at once, where that is faster: rows, and how often each
            is in each resample, float64 [n, B] -> [n]; NaN where it is not defined.
        needs: names of what it takes out of the context; without any it is computed from an
            item's own truth and estimate.
        resamples: of the interval of a metric over sets.

    Raises:
        ValueError: both ways are given, or neither, or a way by half.
    """

    _: KW_ONLY
    per_item: PerItem | None = None
    prepare: Prepare | None = None
    per_set: PerSet | None = None
    per_draw: PerDraw | None = None
    needs: tuple[str, ...] = ()
    resamples: int = 2_000

    def __post_init__(self) -> None:
        over_sets = (self.prepare is not None, self.per_set is not None)
        if over_sets not in ((True, True), (False, False)) or all(over_sets) == bool(self.per_item):
            raise ValueError(f"metric {self.name}: wanted per_item, or prepare and per_set")
