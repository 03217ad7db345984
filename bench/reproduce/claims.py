"""Whether a direction holds: seed by seed, beside the floor, and with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.doubtful import FLOOR_MARGIN_DB
from bench.reproduce.experiment import Claim, Metric

Verdict = Literal["holds", "does not hold", "holds in some seeds", "cannot be judged"]

ABOVE_FLOOR: Mapping[Metric, float] = {"psnr": FLOOR_MARGIN_DB, "ssim": 0.02}
"""By how much an attack has to beat the mean image before anything is concluded from it."""
DIGITS: Mapping[Metric, int] = {"accuracy_change": 2, "ssim": 3, "psnr": 2}
UNITS: Mapping[Metric, str] = {"accuracy_change": " points", "ssim": "", "psnr": " dB"}


@dataclass(frozen=True)
class Value:
    """One row in one seed: the metric, and the floor on the same victims (None for accuracy)."""

    value: float
    floor: float | None = None


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Args:
        by_seed: seed -> verdict, the numbers and the floor.
        reason: in words, where it does not simply hold.
    """

    claim: Claim
    verdict: Verdict
    by_seed: dict[int, dict[str, Any]] = field(default_factory=dict)
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {
            **vars(self.claim),
            "verdict": self.verdict,
            "reason": self.reason,
            "by_seed": {str(seed): found for seed, found in self.by_seed.items()},
        }


Values = Mapping[int, Value | str]
"""seed -> the row's value, or why there is none."""


def judge(claim: Claim, row: Values, than: Values | None) -> Judged:
    """The verdict on `claim` over all seeds of `row`.

    A comparison rests on the side that is said to leak more: where that attack is not above the
    floor nothing can be concluded from it. The other side may fail; that is what a defence is for.
    """
    by_seed = {
        seed: _one(claim, value, None if than is None else than[seed])
        for seed, value in row.items()
    }
    verdicts = [found["verdict"] for found in by_seed.values()]
    told = [found["told"] for found in by_seed.values()]
    judged = [v for v in verdicts if v != "cannot be judged"]
    if not judged:
        why = sorted({found["told"] for found in by_seed.values()}) or ["there is no seed"]
        return Judged(claim, "cannot be judged", by_seed, "; ".join(why))
    numbers = "; ".join(f"seed {seed}: {text}" for seed, text in zip(by_seed, told, strict=True))
    if all(v == "holds" for v in judged):
        reason = numbers if len(judged) < len(verdicts) else ""
        return Judged(claim, "holds", by_seed, reason)
    if any(v == "holds" for v in judged):
        return Judged(claim, "holds in some seeds", by_seed, numbers)
    reason = f"{claim.otherwise}: {numbers}" if claim.otherwise else numbers
    return Judged(claim, "does not hold", by_seed, reason)


def _one(claim: Claim, row: Value | str, than: Value | str | None) -> dict[str, Any]:
    """Verdict and numbers of one seed."""
    for side in (row, than):
        if isinstance(side, str):
            return {"verdict": "cannot be judged", "told": side}
    assert isinstance(row, Value)
    if claim.relation == "at least":
        holds = row.value >= claim.margin
        told = f"{_text(claim.metric, row.value)}, limit {_text(claim.metric, claim.margin)}"
        return {"verdict": _word(holds), "told": told, "row": row.value}
    assert isinstance(than, Value)
    numbers = {"row": row.value, "than": than.value, "floor": row.floor, "than_floor": than.floor}
    told = f"{_text(claim.metric, row.value)} against {_text(claim.metric, than.value)}"
    rests_on = row if claim.relation == "above" else than
    if rests_on.floor is not None:
        told += f" (floor {_text(claim.metric, rests_on.floor)})"
        if rests_on.value <= rests_on.floor + ABOVE_FLOOR[claim.metric]:
            told = f"the attack is at the floor, {told}"
            return {"verdict": "cannot be judged", "told": told, **numbers}
    difference = row.value - than.value
    holds = {
        "below": difference < -claim.margin,
        "above": difference > claim.margin,
        "near": abs(difference) <= claim.margin,
    }[claim.relation]
    return {"verdict": _word(holds), "told": told, **numbers}


def _word(holds: bool) -> Verdict:
    return "holds" if holds else "does not hold"


def _text(metric: Metric, value: float) -> str:
    return f"{value:.{DIGITS[metric]}f}{UNITS[metric]}"
