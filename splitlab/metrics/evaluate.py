"""Every metric of a table at once; a column that cannot be had says why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from splitlab.contracts.metric import Metric
from splitlab.errors import BadInput, Unavailable
from splitlab.metrics.registry import METRICS


@dataclass(frozen=True)
class Column:
    """One metric over a set of reconstructions.

    Args:
        metric: name, unit and direction.
        values: float32 [B] on the CPU, or None where it could not be computed.
        why: the reason, where `values` is None.
    """

    metric: Metric
    values: Tensor | None
    why: str = ""


def evaluate(
    names: Sequence[str], truths: Tensor, estimates: Tensor, context: dict[str, Any] | None = None
) -> dict[str, Column]:
    """Compute the named metrics.

    Args:
        names: keys of `METRICS`.
        truths: float [B, 3, H, W] in [0, 1], in the order of `estimates`.
        estimates: the same shape.
        context: what the metrics over sets may use: `gallery` [N, 3, H, W] and `truth_index` [B]
            (re-identification), `embed` (an independent network, images [B, 3, H, W] -> [B, ...])
            or `no_embed` (why there is none), `lpips_weights` (folder).

    Returns:
        name -> column, in the order of `names`.

    Raises:
        UnknownName: a name that is no metric.
        BadInput: images that cannot be compared.
    """
    if truths.shape != estimates.shape:
        raise BadInput(
            f"{tuple(truths.shape)} true images and {tuple(estimates.shape)} reconstructions "
            "cannot be compared; join them by request id first"
        )
    columns = {}
    for name in names:
        metric: Metric = METRICS.load(name)
        try:
            columns[name] = Column(metric, _values(metric, truths, estimates, context or {}))
        except Unavailable as error:
            columns[name] = Column(metric, None, str(error))
    return columns


def _values(metric: Metric, truths: Tensor, estimates: Tensor, context: dict[str, Any]) -> Tensor:
    if metric.per_item is not None:
        values = metric.per_item(truths, estimates)
    elif metric.per_set is not None:
        values = metric.per_set(truths, estimates, context)
    else:
        raise BadInput(f"metric {metric.name} gives neither `per_item` nor `per_set`")
    return values.detach().float().cpu()
