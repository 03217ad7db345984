"""What a metric is: a pure function, with name, unit and direction as data beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

PerItem = Callable[[Tensor, Tensor], Tensor]
PerSet = Callable[[Tensor, Tensor, dict[str, Any]], Tensor]


@dataclass(frozen=True)
class Metric:
    """One measure of what a reconstruction reveals.

    Exactly one of `per_item` (truth, estimate -> [B]) and `per_set` (truths, estimates, context ->
    [B]) is given. Images are float [B, 3, H, W] in [0, 1].

    Args:
        name: column name; an LPIPS column carries its backbone ("lpips_alex").
        unit: "dB", "1", "%".
        leakage: "rises" where a larger value means that more is revealed, else "falls".
    """

    name: str
    unit: str
    leakage: Literal["rises", "falls"]
    per_item: PerItem | None = None
    per_set: PerSet | None = None
