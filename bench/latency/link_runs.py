"""What a request takes under each link that a sweep was asked about.

Requests are measured on the link without its losses, and what losses add is modelled over many
more: a loss is rare and large, so that the median hides it and the mean of a few is chance.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edge_client.ledger import percentiles
from edge_client.one_way import round_trips
from splitlab.contracts.link import Link, parse_link
from splitlab.record import Record
from splitlab.record.latency import LINK_PREFIX

DRAWS = 4000
"""Requests modelled on a link with losses; the mean's standard error is a few percent then."""


def link_names(latency: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Links of a record's latencies."""
    return [key.removeprefix(LINK_PREFIX) for key in latency if key.startswith(LINK_PREFIX)]


def links_of(records: Sequence[Record]) -> list[str]:
    """Links that any of the records was measured under, in order."""
    return list(dict.fromkeys(name for record in records for name in link_names(record.latency)))


def typical(latency: Mapping[str, float]) -> tuple[str, float]:
    """("mean", ms) of a request under a link that loses packets, ("p50", ms) under another."""
    name = "mean" if "mean" in latency else "p50"
    return name, latency[name]


def shown_over(link: str, records: Sequence[Record]) -> str:
    """Which of a link's figures is shown: "mean" or "p50", by the first record that has it."""
    times = (record.latency.get(LINK_PREFIX + link) for record in records)
    return next((typical(ms)[0] for ms in times if ms), "p50")


def over(link: str, record: Record) -> str:
    """Whole ms of a request over a link, "n/a" where it was not measured."""
    times = record.latency.get(LINK_PREFIX + link)
    return f"{typical(times)[1]:z.0f}" if times else "n/a"


def lossless(link: str) -> str:
    """The link's text without its losses."""
    return ",".join(part for part in link.split(",") if not part.strip().startswith("loss"))


def times_of(link: str, ms: Sequence[float], up: int, down: int) -> dict[str, float]:
    """p50, p95 and count in ms of requests over a link; where it loses packets, as modelled.

    Args:
        ms: measured on the link without its losses.
        up, down: bytes of a request and of its answer.
    """
    parsed, total = parse_link(link), percentiles({"total": ms})["total"]
    return with_losses(parsed, up, down, total["p50"]) if parsed.loss else total


def with_losses(link: Link, up: int, down: int, measured_ms: float) -> dict[str, float]:
    """mean, p50, p95 and count in ms of modelled requests, one after another.

    Args:
        up, down: bytes of a request and of its answer.
        measured_ms: of such a request on the same link without losses; what the link alone does
            not take of it is computation.
    """
    still = statistics.median(round_trips(replace(link, loss=0.0), up, down, 20))
    between = max(0.0, measured_ms / 1000 - still)
    ms = [1000 * seconds for seconds in round_trips(link, up, down, DRAWS, between=between)]
    return {"mean": statistics.fmean(ms), **percentiles({"all": ms})["all"]}
