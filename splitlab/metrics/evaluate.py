"""Every metric of a table at once; a column that cannot be had says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from splitlab.contracts.metric import Context, Metric, Rows
from splitlab.errors import BadInput, SplitLabError, Unavailable
from splitlab.metrics.intervals import Interval, mean_interval, set_interval
from splitlab.metrics.registry import METRICS

SLACK = 1e-4
"""How far beyond its bounds rounding may carry a value, as a share of it or of 1."""


@dataclass(frozen=True)
class Column:
    """One metric over a set of estimates.

    Args:
        metric: its functions, unit and direction.
        values: float [B] on the CPU, of a metric of single items; None of another, or where it
            could not be computed.
        rows: what a metric over sets has prepared, or None.
        number: the mean of the values, or the set's number; None where it could not be computed.
        why: the reason, where there is none.
    """

    metric: Metric
    values: Tensor | None
    rows: Rows | None = None
    number: float | None = None
    why: str = ""

    def interval(self, groups: Tensor, seed: int = 0) -> Interval:
        """Over resampled groups.

        Args:
            groups: int64 [B], the independent unit of each item.

        Raises:
            BadInput: the metric could not be computed, or groups that do not fit.
        """
        if self.values is not None:
            return mean_interval(self.values, groups, seed=seed)
        if self.rows is not None and self.metric.per_set is not None:
            return set_interval(
                self.metric.per_set,
                self.rows,
                groups,
                self.metric.resamples,
                seed,
                per_draw=self.metric.per_draw,
                bounds=self.metric.bounds,
            )
        raise BadInput(f"{self.metric.name} could not be computed: {self.why}")


def evaluate(
    metrics: Sequence[str | Metric],
    truths: Tensor,
    estimates: Tensor,
    context: Mapping[str, Any] | None = None,
) -> dict[str, Column]:
    """Compute the metrics.

    Args:
        metrics: keys of `METRICS`, or metrics themselves.
        truths: [B, ...], in the order of `estimates`; images are float [B, 3, H, W] in [0, 1].
        estimates: [B, ...].
        context: what metrics may use beside them: `gallery` [N, 3, H, W] and `truth_index` [B]
            (re-identification), `embed` (an independent network, images [B, 3, H, W] -> [B, ...])
            or `no_embed` (why there is none), `lpips_weights` (folder), `special` and `common`
            (words), `generate` (latents [n, D] -> images).

    Returns:
        name -> column, in the order of `metrics`.

    Raises:
        UnknownName: a name that is no metric.
        BadInput: truth and estimates that cannot be compared.
        SplitLabError: a metric gave a value out of its own bounds.
    """
    if len(truths) != len(estimates):
        raise BadInput(
            f"{len(truths)} truths and {len(estimates)} estimates cannot be compared; join them by "
            "request id first"
        )
    columns = {}
    for one in metrics:
        metric: Metric = METRICS.load(one) if isinstance(one, str) else one
        try:
            columns[metric.name] = _column(metric, truths, estimates, context or {})
        except Unavailable as error:
            columns[metric.name] = Column(metric, None, why=str(error))
    return columns


def _column(metric: Metric, truths: Tensor, estimates: Tensor, context: Context) -> Column:
    if metric.per_item is not None:
        values = metric.per_item(truths, estimates, context).detach().cpu()
        for value in (values.min(), values.max()) if len(values) else ():
            _require_bounds(metric, float(value))
        return Column(metric, values, number=float(values.double().mean()))
    assert metric.prepare is not None
    assert metric.per_set is not None
    rows = tuple(one.detach().cpu() for one in metric.prepare(truths, estimates, context))
    number = metric.per_set(rows)
    _require_bounds(metric, number)
    return Column(metric, None, rows, number)


def _require_bounds(metric: Metric, value: float) -> None:
    low, high = metric.bounds
    slack = SLACK * max(1.0, abs(value))
    if (low is not None and value < low - slack) or (high is not None and value > high + slack):
        raise SplitLabError(f"{metric.name} gave {value:g}, outside its bounds {low} to {high}")
