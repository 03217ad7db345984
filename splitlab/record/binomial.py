"""What a share of few images can tell (Wilson 1927)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

Z = 1.959964  # of a 95 % interval


def wilson(percent: float, count: int) -> tuple[float, float]:
    """The 95 % interval in % of a share that `count` independent images gave; 0 to 100 of none."""
    if count < 1:
        return 0.0, 100.0
    share, square = percent / 100, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z / (1 + square) * ((share * (1 - share) + square / 4) / count) ** 0.5
    return max(0.0, 100 * (middle - half)), min(100.0, 100 * (middle + half))


def no_better(percent: float, count: int, chance: float) -> bool:
    """Whether a share in % may be chance: its interval does not lie above it."""
    return wilson(percent, count)[0] <= chance


def majority(labels: Iterable[int]) -> float:
    """Share in % of the largest class: what a constant answer gets. 0 of no labels."""
    counts = Counter(labels)
    return 100.0 * max(counts.values(), default=0) / max(1, counts.total())
