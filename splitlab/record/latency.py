"""What requests take at every deployment of a run: one record for all, joined to the points'.

Times of one machine compare only where they were taken side by side. A point's record therefore
says nothing of latency; once all deployments of a run are there, they are measured in turns, round
after round, with nothing else of the run at work, into one record. Where deployments join the run
they are all measured anew.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from splitlab.record.record import Record
from splitlab.storage import canonical_json, sha256

LATENCY_VERSION = 1  # raise it when a change makes old times incomparable
LINK_PREFIX = "link "
"""Before the name of a simulated link, among a record's stages."""

Times = dict[str, float]


class PlaceLatency(BaseModel):
    """One deployment.

    Its stages' `part` adds up to the p50 of "total". Links are of a request of one image: p50 and
    p95, or modelled with their mean where packets are lost.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str = Field(description="of the deployment")
    stages: dict[str, Times] = Field(description="stage or total -> p50, p95, count, part, in ms")
    rounds: tuple[float, ...] = Field(description="median total of each round, in ms")
    links: dict[str, Times] = Field(default_factory=dict, description="link -> p50, p95, in ms")
    link_rounds: dict[str, tuple[float, ...]] = Field(default_factory=dict)


class MachineLoad(BaseModel):
    """What else the machine did meanwhile.

    `others` is the share of the time of the cores at hand that other processes took; None where
    the system does not tell. The averages are of the last minute, before and after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    others: float | None
    average_before: float | None
    average_after: float | None
    cores: int
    seconds: float


class Latency(BaseModel):
    """One file under `latency/`, named by what was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["splitlab/latency/1"] = "splitlab/latency/1"
    hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    created: str
    images: int = Field(description="of a request over loopback; over a link it has one")
    requests: int = Field(description="counted in each round, at each deployment")
    places: dict[str, PlaceLatency]
    load: MachineLoad
    environment: dict[str, Any]


def latency_hash(digests: Mapping[str, str], links: Sequence[str], model: int) -> str:
    """Hex SHA-256 of what is measured: deployments by name, links, and how both are.

    Args:
        digests: name of the place -> digest of its deployment.
        model: version of the links' simulation.
    """
    content = {
        "version": LATENCY_VERSION,
        "places": dict(digests),
        "links": sorted(links),
        "model": model if links else None,
    }
    return sha256(canonical_json(content))


def spread(rounds: Sequence[float]) -> float:
    """How far the rounds lie apart: the widest difference as a share of their median."""
    middle = statistics.median(rounds) if rounds else 0.0
    return (max(rounds) - min(rounds)) / middle if middle else 0.0


def facts_of(latency: Latency, place: PlaceLatency) -> dict[str, Any]:
    """What a point's record is told beside the times: where they come from, load and rounds."""
    return {
        "record": latency.hash,
        "created": latency.created,
        "images": latency.images,
        "rounds": list(place.rounds),
        "link_rounds": {name: list(rounds) for name, rounds in place.link_rounds.items()},
        **{f"load.{name}": value for name, value in latency.load.model_dump().items()},
    }


def newest_for(latencies: Sequence[Latency], names: set[str]) -> Latency | None:
    """The one that has most of these places, of several the last; None where none has any."""
    held = [one for one in latencies if names & set(one.places)]
    return max(held, key=lambda one: (len(names & set(one.places)), one.created), default=None)


def joined(records: Sequence[Record], latencies: Sequence[Latency]) -> list[Record]:
    """The records with the times of one measurement; one that it lacks keeps what it has."""
    latency = newest_for(latencies, {str(record.split.get("name")) for record in records})
    if latency is None:
        return list(records)
    found = []
    for record in records:
        place = latency.places.get(str(record.split.get("name")))
        if place is None:
            found.append(record)
            continue
        links = {LINK_PREFIX + name: dict(ms) for name, ms in place.links.items()}
        times = {**{stage: dict(ms) for stage, ms in place.stages.items()}, **links}
        update = {"latency": times, "latency_facts": facts_of(latency, place)}
        found.append(record.model_copy(update=update))
    return found
