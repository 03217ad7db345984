"""Whether a direction holds: seed by seed, beside the floor, and with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.reproduce.frame.columns import Value, column_of
from bench.reproduce.frame.experiment import Claim
from splitlab.contracts.quantity import Quantity

Verdict = Literal["holds", "does not hold", "holds in some seeds", "cannot be judged"]


@dataclass(frozen=True)
class Judged:
    """A claim with its verdict.

    Args:
        verdict: "holds" only where every seed was judged and holds.
        by_seed: seed -> verdict, the numbers, floor and ceiling.
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


def judge(claim: Claim, row: Values, than: Values | None, column: Quantity | None = None) -> Judged:
    """The verdict on `claim` over all seeds of `row`.

    A comparison rests on the side that is said to leak more: where that attack is not above the
    floor nothing can be concluded from it. The other side may fail; that is what a defence is for,
    but one failed attack proves no protection, and the reason says so.

    Args:
        column: what the claim's metric is; the lab's of that name where None.
    """
    column = column or column_of(claim.metric)
    by_seed = {
        seed: _one(claim, column, value, None if than is None else than[seed])
        for seed, value in row.items()
    }
    verdicts = [found["verdict"] for found in by_seed.values()]
    judged = [v for v in verdicts if v != "cannot be judged"]
    if not judged:
        why = sorted({found["told"] for found in by_seed.values()}) or ["there is no seed"]
        return Judged(claim, "cannot be judged", by_seed, "; ".join(why))
    numbers = "; ".join(f"seed {seed}: {found['told']}" for seed, found in by_seed.items())
    held, missing = judged.count("holds"), len(verdicts) - len(judged)
    caveat = _caveat(column, by_seed)
    if held == len(verdicts):
        return Judged(claim, "holds", by_seed, f"{numbers}; {caveat}" if caveat else "")
    counted = f"holds in {held} of {len(judged)} judged" + (
        f", {missing} not judged" if missing else ""
    )
    if held:
        told = [counted, numbers, caveat]
        return Judged(claim, "holds in some seeds", by_seed, "; ".join(filter(None, told)))
    told = [claim.otherwise, counted if missing else "", numbers]
    return Judged(claim, "does not hold", by_seed, ": ".join(filter(None, told)))


def _one(
    claim: Claim, column: Quantity, row: Value | str, than: Value | str | None
) -> dict[str, Any]:
    """Verdict and numbers of one seed."""
    for side in (row, than):
        if isinstance(side, str):
            return {"verdict": "cannot be judged", "told": side}
    assert isinstance(row, Value)
    if claim.relation in ("at least", "at most"):
        above = row.value >= claim.margin
        holds = above if claim.relation == "at least" else row.value <= claim.margin
        told = f"{_text(column, row.value)}, limit {_text(column, claim.margin)}"
        return {"verdict": _word(holds), "told": told, "row": row.value}
    assert isinstance(than, Value)
    numbers = {"row": row.value, "than": than.value, "floor": row.floor, "than_floor": than.floor}
    told = f"{_text(column, row.value)} against {_text(column, than.value)}"
    # Of a metric that falls as more leaks, the smaller side is the one that leaks more.
    row_leaks = (claim.relation == "above") == (column.leakage == "rises")
    more, less = (row, than) if row_leaks else (than, row)
    if more.floor is not None:
        told += f" (floor {_text(column, more.floor)})"
    if _failed(column, more):
        told = f"the attack is at the floor, {told}"
        return {"verdict": "cannot be judged", "told": told, **numbers}
    difference = row.value - than.value
    if claim.relation == "near":
        return {"verdict": _word(abs(difference) <= claim.margin), "told": told, **numbers}
    needed = max(claim.margin, column.resolved)
    if abs(difference) <= needed:
        return {"verdict": "does not hold", "told": f"no difference, {told}", **numbers}
    holds = (difference > 0) == (claim.relation == "above")
    if holds and _failed(column, less):
        numbers |= {"less_failed": True, "ceiling": less.ceiling}
    return {"verdict": _word(holds), "told": told, **numbers}


def _failed(column: Quantity, side: Value) -> bool:
    """Whether the attack is not above its floor."""
    return side.floor is not None and column.failed(side.value, side.floor)


def _caveat(column: Quantity, by_seed: Mapping[int, Mapping[str, Any]]) -> str:
    """What a claim does not say that holds because an attack failed; "" where none did."""
    failed = {seed: found for seed, found in by_seed.items() if found.get("less_failed")}
    if not failed:
        return ""
    ceilings = [_text(column, c) for one in failed.values() if (c := one["ceiling"]) is not None]
    above = (
        f"its ceiling, a decoder with queries, is {', '.join(ceilings)}"
        if ceilings
        else "no ceiling was measured for it"
    )
    return (
        f"the attack failed on the side that leaks less (seed {', '.join(map(str, failed))}): at "
        f"its floor, no proof of protection; {above}"
    )


def _word(holds: bool) -> Verdict:
    return "holds" if holds else "does not hold"


def _text(column: Quantity, value: float) -> str:
    return column.mean(value) + column.suffix
