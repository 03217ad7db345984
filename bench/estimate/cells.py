"""From the costs of a few split points to the stages of a run: arithmetic alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.estimate import latency
from bench.estimate.deploying import GRANTED_HALVES, SERVED, undefended_seconds, written_seconds
from bench.estimate.points import Costs
from splitlab.estimating import between


def mixed(first: Costs, second: Costs, share: float) -> Costs:
    """What lies between two split points, `share` of the way to the second."""

    def mix(a: float, b: float) -> float:
        return a * (1 - share) + b * share

    return Costs(
        cut=mix(first.cut, second.cut),
        head=mix(first.head, second.head),
        rest=mix(first.rest, second.rest),
        wire=mix(first.wire, second.wire),
        attacks=tuple(
            None if a is None or b is None else mix(a, b)
            for a, b in zip(first.attacks, second.attacks, strict=True)
        ),
    )


def at_every_point(known: Mapping[int, Costs], count: int, several: int = 3) -> list[Costs]:
    """The costs of all of `count` split points, between the `several` that were measured."""
    shares = [between(count, n, several) for n in range(count)]
    return [mixed(known[left], known[right], share) for left, right, share in shares]


@dataclass(frozen=True)
class Run:
    """What the cells of a run share.

    Args:
        image: seconds of one image through the whole network, with all threads.
        start: seconds of a core until a process has imported everything and built the network.
        loading: seconds of a core that a client needs for the data.
        victims: images that cross the wire, captures of one image counted each.
        undefended: images of which the undefended logits are made.
        validation: images of which the accuracy is measured.
        cores: that processes share.
    """

    image: float
    start: float
    loading: float
    victims: int
    undefended: int
    validation: int
    cores: int


@dataclass(frozen=True)
class PlannedCell:
    """A deployment that is written, captured and attacked.

    Args:
        attacks: which of `costs.attacks` are still to be made.
        halves: that are read for their grants.
        sent: for each capture, how many records for each victim.
    """

    costs: Costs
    attacks: tuple[int, ...]
    halves: int
    sent: tuple[int, ...] = (1,)

    @property
    def grants(self) -> int:
        return GRANTED_HALVES * self.halves


def stages(cells: Sequence[PlannedCell], run: Run) -> dict[str, float]:
    """What the cells take besides training, attacks and scoring."""
    written = sum(
        written_seconds(one.costs.cut, run.image, run.validation)
        + undefended_seconds(one.costs.cut, run.image, run.undefended)
        + one.grants * one.costs.cut
        for one in cells
    )
    started = sum(
        len(one.sent) * (SERVED * (run.start + one.costs.cut) + run.loading) for one in cells
    )
    captured = sum(sum(one.sent) * run.victims * one.costs.image for one in cells)
    return {
        "deployments": written,
        "processes": started / max(1, run.cores),
        "capture": captured,
    }


def attack_stages(cells: Sequence[PlannedCell], names: Sequence[str]) -> dict[str, float | None]:
    """Attack -> seconds, None where one of them cannot be told.

    Args:
        names: of `costs.attacks`, in their order.
    """
    found: dict[str, float | None] = {}
    for one in cells:
        for place in one.attacks:
            taken, before = one.costs.attacks[place], found.get(names[place], 0.0)
            none = taken is None or before is None
            found[names[place]] = None if none else before + taken  # type: ignore[operator]
    return found


def latency_seconds(
    places: Sequence[tuple[Costs, int, int]], links: Sequence[str], start: float, cores: int
) -> float:
    """Of the latency at the end.

    Args:
        places: costs, bytes up and bytes down of an image, of each deployment.
    """
    if not places:
        return 0.0
    asked = sum(latency.place_seconds(c.serial, links, up, down) for c, up, down in places)
    cut = sum(c.cut for c, _, _ in places) / len(places)
    servers = latency.starts(len(places)) * (start + cut) / max(1, cores)
    return asked + servers + start + sum(c.cut for c, _, _ in places)
