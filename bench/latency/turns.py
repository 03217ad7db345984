"""Who is asked when: every deployment in each round, so that a busy minute meets all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.latency.link_runs import lossless, times_of
from edge_client.ledger import by_stage
from edge_client.stages import TOTAL
from splitlab.record import PlaceLatency

ROUNDS = 5
REQUESTS = 4
"""Counted in each round; one more before them fills the caches."""
IMAGES = 8
LINK_REQUESTS = 2
"""Of one image, in each round under each link."""

AskerAnswer = Mapping[str, Any]
Ask = Callable[[str, str | None, int], AskerAnswer]
"""(place, link without losses or None, images) -> ms by stage, framed_up, framed_down."""


@dataclass
class Taken:
    """What one place's requests took, round by round.

    Args:
        ms: by stage, of each request of a round.
        links: link without losses -> total ms of each request of a round.
        bytes_of: link without losses -> bytes up and down of a request.
    """

    ms: list[list[dict[str, float]]] = field(default_factory=list)
    links: dict[str, list[list[float]]] = field(default_factory=dict)
    bytes_of: dict[str, tuple[int, int]] = field(default_factory=dict)


def order(names: Sequence[str], at_once: int, rounds: int = ROUNDS) -> Iterator[list[str]]:
    """Groups of places to visit, round after round; every second round goes backwards.

    Args:
        at_once: places whose servers may run at the same time.
    """
    for turn in range(rounds):
        step = max(1, at_once)
        groups = [list(names[first : first + step]) for first in range(0, len(names), step)]
        yield from groups if turn % 2 == 0 else [group[::-1] for group in groups[::-1]]


def visit(name: str, links: Sequence[str], ask: Ask, taken: Taken) -> None:
    """One place's turn: requests over loopback, then under each link."""
    ask(name, None, IMAGES)
    taken.ms.append([dict(ask(name, None, IMAGES)["ms"]) for _ in range(REQUESTS)])
    for link in dict.fromkeys(map(lossless, links)):
        answers = [ask(name, link, 1) for _ in range(LINK_REQUESTS)]
        own = taken.links.setdefault(link, [])
        own.append([answer["ms"][TOTAL] for answer in answers])
        taken.bytes_of[link] = (int(answers[0]["framed_up"]), int(answers[0]["framed_down"]))


def summed(digest: str, links: Sequence[str], taken: Taken) -> PlaceLatency:
    """The times of one place, over all rounds."""
    asked = {link: taken.links[lossless(link)] for link in links}
    return PlaceLatency(
        digest=digest,
        stages=by_stage([ms for turn in taken.ms for ms in turn]),
        rounds=_medians([[ms[TOTAL] for ms in turn] for turn in taken.ms]),
        links={
            link: times_of(link, [ms for turn in turns for ms in turn], *taken.bytes_of[name])
            for link, turns in asked.items()
            for name in (lossless(link),)
        },
        link_rounds={link: _medians(turns) for link, turns in asked.items()},
    )


def _medians(turns: Sequence[Sequence[float]]) -> tuple[float, ...]:
    return tuple(round(statistics.median(turn), 4) for turn in turns)
