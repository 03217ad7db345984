"""Measurements of latency made by hand."""

from __future__ import annotations

import statistics

from splitlab.record import Latency, MachineLoad, PlaceLatency
from splitlab.storage import sha256


def latency(rounds, *, link=None, others=0.0, created="2026-01-01T00:00:00+00:00"):
    """Of places by name, each with its rounds' medians in ms; `link` is the p50 under lte."""
    places = {}
    for name, turns in rounds.items():
        p50 = statistics.median(turns)
        times = {"p50": p50, "p95": max(turns), "count": 20}
        links = {} if link is None else {"lte": {"p50": link, "p95": link, "count": 10}}
        places[name] = PlaceLatency(
            digest="d",
            stages={
                "head": {**times, "part": 0.25 * p50},
                "bodies": {**times, "part": 0.75 * p50},
                "total": times,
            },
            rounds=tuple(turns),
            links=links,
            link_rounds=dict.fromkeys(links, (link, link)),
        )
    load = MachineLoad(others=others, average_before=1.0, average_after=1.0, cores=2, seconds=3.0)
    return Latency(
        hash=sha256(str(rounds).encode(), created.encode()),
        created=created,
        images=8,
        requests=4,
        places=places,
        load=load,
        environment={},
    )
