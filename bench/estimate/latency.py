"""What the latency at the end takes: requests of every round, and the link's own waiting."""

from __future__ import annotations

from collections.abc import Sequence

from bench.latency.link_runs import lossless
from bench.latency.measure import AT_ONCE
from bench.latency.turns import IMAGES, LINK_REQUESTS, REQUESTS, ROUNDS
from edge_client.one_way import round_trips
from splitlab.contracts.link import parse_link

WARM = 1
"""Requests of each round and link that are not counted."""


def place_seconds(image: float, links: Sequence[str], up: int, down: int) -> float:
    """Of all requests to one deployment.

    Args:
        image: seconds that one takes in client and server.
        up, down: bytes of one image's feature and answer.
    """
    rounds = ROUNDS * (WARM + REQUESTS) * IMAGES * image
    for link in dict.fromkeys(map(lossless, links)):
        asked = WARM + ROUNDS * LINK_REQUESTS
        rounds += asked * image + sum(round_trips(parse_link(link), up, down, asked))
    return rounds


def starts(places: int) -> int:
    """How often a server starts: once where all may run at once, else in every round."""
    return places if places <= AT_ONCE else ROUNDS * places
