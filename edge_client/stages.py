"""Where the time of a request went: each moment of the client's wall clock belongs to one stage.

Micro-batches overlap: while the second runs through the head, the first is on its way, and the
third waits for the bodies' turn. Times summed over micro-batches exceed the request's own, so a
request is accounted for from its one thread: what that thread does is the stage it does, and while
it waits for an answer, the stage is what the message that it waits for is doing then. So the stages
of a request add up to its time, and a message that queues behind its own forerunners costs nothing
that these do not cost already.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

STAGES = (
    "head",
    "protect",
    "encode",
    "network",
    "queue",
    "codec",
    "bodies",
    "decode",
    "tail",
    "retry",
    "other",
)
"""In the order of a request; "other" is what no stage claims, such as a first handshake."""
TOTAL = "total"


class Span(NamedTuple):
    """A message in one stage, in seconds of one clock."""

    stage: str
    start: float
    end: float


def journey(
    first: float, started: float, ended: float, told: Sequence[tuple[str, float]]
) -> list[Span]:
    """Where a message was from its first sending to its answer.

    Args:
        first: when it was first sent; what lies before `started` went by in attempts that failed.
        started, ended: of the attempt that was answered.
        told: stage -> seconds by the server's account, in the order in which it does them. The
            network has the rest, half of it on the way there. An account of more than the whole
            round trip is scaled down to it.
    """
    whole = max(0.0, ended - started)
    claimed = sum(seconds for _, seconds in told)
    share = min(1.0, whole / claimed) if claimed else 0.0
    way = max(0.0, whole - claimed) / 2
    spans = [Span("retry", first, started)] if started > first else []
    now = started
    for stage, seconds in (
        ("network", way),
        *((stage, share * seconds) for stage, seconds in told),
        ("network", way),
    ):
        spans.append(Span(stage, now, now + seconds))
        now += seconds
    return spans


def waited(start: float, end: float, spans: Sequence[Span]) -> dict[str, float]:
    """Seconds of a wait from `start` to `end` by what the awaited message was doing.

    What no span covers is the network's: a message that is handed over.
    """
    found: dict[str, float] = {}
    for span in spans:
        seconds = min(end, span.end) - max(start, span.start)
        if seconds > 0:
            found[span.stage] = found.get(span.stage, 0.0) + seconds
    rest = (end - start) - sum(found.values())
    if rest > 0:
        found["network"] = found.get("network", 0.0) + rest
    return found


def whole(own: Mapping[str, float], total: float) -> dict[str, float]:
    """The stages of a request in their order, with "other", so that they add up to `total`."""
    found = {stage: own.get(stage, 0.0) for stage in STAGES if stage in own}
    return {**found, "other": max(0.0, total - sum(found.values()))}


def parts(requests: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What each stage takes of the median request, in ms; the parts add up to its p50.

    Medians of stages do not add up to the median of the total. The stages' shares are therefore
    taken over the middle half of the requests by total, and shared out of the p50.

    Args:
        requests: stage -> ms of each request, and the "total", which the stages add up to.
    """
    ordered = sorted(requests, key=lambda ms: ms[TOTAL])
    if not ordered:
        return {}
    middle = ordered[len(ordered) // 4 : len(ordered) - len(ordered) // 4]
    p50 = statistics.median(ms[TOTAL] for ms in ordered)
    found = [stage for stage in STAGES if any(stage in ms for ms in ordered)]
    sums = {stage: sum(ms.get(stage, 0.0) for ms in middle) for stage in found}
    claimed = sum(sums.values())
    return {stage: p50 * value / claimed for stage, value in sums.items()} if claimed else {}
