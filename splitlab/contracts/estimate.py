"""What an attack answers, whatever it estimates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Estimate:
    """The answer to what was seen.

    Args:
        values: [n, ...], in the order of what was seen; of what form says the attack's `Kind`.
        doubts: what the attack itself says against its result.
        extra: chosen settings and other facts for the record; JSON values.
    """

    values: Tensor
    doubts: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
