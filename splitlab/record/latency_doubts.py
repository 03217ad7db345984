"""Doubts about latencies: taken apart, on a busy machine, or with rounds that do not agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from splitlab.record.latency import spread
from splitlab.record.record import Record

OTHERS_SHARE = 0.10
"""Of the cores' time, a choice: from about there on requests wait for a core now and then, at one
deployment more often than at another."""
SPREAD = 0.25
"""Of the median of the rounds, a choice: where rounds do not come back within a quarter, no
difference of that size between deployments says anything."""
LEAST_MS = 1.0
"""Rounds that lie nearer together than the scheduler's own grain are no doubt."""


def latency_doubts(records: Sequence[Record]) -> list[str]:
    """What is doubtful about the times of a run. Experiments on papers measure none together."""
    own = {
        str(r.split.get("name")): r
        for r in records
        if r.split.get("name") and "experiment" not in r.config
    }
    return [*_apart(own), *_missing(own), *_busy(own), *_spread(own)]


def _apart(own: dict[str, Record]) -> list[str]:
    apart = [name for name, r in own.items() if r.latency and not r.latency_facts]
    together = [name for name, r in own.items() if r.latency_facts]
    if len(apart) + bool(together) < 2 or not apart:
        return []
    return [
        f"the latencies of {_named(apart)} were measured apart, each with its point; they compare "
        "only if the machine was equally busy each time; start the run again to measure all "
        "deployments together"
    ]


def _missing(own: dict[str, Record]) -> list[str]:
    missing = [name for name, r in own.items() if not r.latency]
    if not missing:
        return []
    return [
        f"the latency of {_named(missing)} was not measured; start the run again (a deployment "
        "that was removed is not made again)"
    ]


def _busy(own: dict[str, Record]) -> list[str]:
    shares = [_number(r.latency_facts.get("load.others")) for r in own.values()]
    highest = max((share for share in shares if share is not None), default=0.0)
    if highest <= OTHERS_SHARE:
        return []
    return [
        f"other processes took {100 * highest:z.0f} % of the cores' time while the latency was "
        f"measured (more than {100 * OTHERS_SHARE:z.0f} %); on an idle machine it is lower"
    ]


def _spread(own: dict[str, Record]) -> list[str]:
    """One line for loopback and one for each link, with the places whose rounds disagree."""
    wide: dict[str, list[tuple[str, Sequence[float]]]] = {}
    for name, record in own.items():
        facts = record.latency_facts
        series = {"": facts.get("rounds", ()), **facts.get("link_rounds", {})}
        for link, rounds in series.items():
            if rounds and spread(rounds) > SPREAD and max(rounds) - min(rounds) > LEAST_MS:
                wide.setdefault(link, []).append((name, rounds))
    return [
        f"latency{f' over {link}' if link else ''}: the rounds lie far apart at "
        + "; ".join(f"{name} ({min(r):z.0f} to {max(r):z.0f} ms)" for name, r in places)
        + "; the machine was not equally busy, and differences of that size say nothing"
        for link, places in wide.items()
    ]


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
