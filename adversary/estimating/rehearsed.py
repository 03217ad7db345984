"""What an attack takes: its own code on a few images, reckoned up to all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Estimator, Workplace
from adversary.parts.budget import FULL_SIZE
from splitlab.contracts import Seen
from splitlab.errors import SplitLabError
from splitlab.estimating import Meter, extended
from splitlab.training import OutOfTime, Progress, Silent, Work

FEW, MORE = 8, 32
"""Images that a fit is rehearsed with, up to `FULL_SIZE`; on larger images 2 and 8."""
ANSWERED = 8
"""Features that are inverted in a rehearsal, up to `FULL_SIZE`; else 2."""

LIMIT = 5.0
"""Seconds of a rehearsal; an attack that takes longer is one whose time cannot be told."""

Threats = Callable[[int], ThreatModel]
"""Number of own images -> what is granted with so many of them."""


def sizes(size: int, pairs: int) -> tuple[int, int]:
    """How many of `pairs` images of `size` pixels a side two rehearsals of a fit take."""
    few, more = (FEW, MORE) if size <= FULL_SIZE else (2, 8)
    return min(few, pairs), min(more, pairs)


def answered(size: int) -> int:
    """How many features a rehearsal inverts."""
    return ANSWERED if size <= FULL_SIZE else 2


def attack_seconds(
    attack: Attack,
    threats: Threats,
    seen: tuple[Seen, ...],
    *,
    size: int,
    pairs: int,
    victims: int,
    meter: Meter,
    device: str = "cpu",
    limit: float = LIMIT,
) -> float | None:
    """Seconds of `run_attack`, the making of its threat model included; None if it cannot be told.

    The fit is rehearsed with two numbers of images, which tells what grows with them; one that
    learns nothing, or is rehearsed with all there are, once. What the answers take is in proportion
    to the features that are inverted.

    Args:
        seen: what it sees, of a few items, such as `answered` says.
        size: side of an image in pixels.
        pairs: own images that it learns from.
        victims: features that it inverts.
        limit: seconds of each rehearsal.
    """
    kept: list[Estimator] = []
    relay = _Relay()

    def fit(count: int, watch: Progress) -> None:
        relay.to = watch
        threat = threats(count)
        threat.fingerprint()
        rng = torch.Generator().manual_seed(0)
        kept.append(attack.fit(threat, rng, Workplace(device, relay, grant=threat)))
        threat.fingerprint()

    def invert(watch: Progress) -> None:
        relay.to = watch
        kept[-1](*seen)

    few, more = sizes(size, pairs)
    try:
        alike = attack.fitted_on == "nothing" or more == pairs
        first = meter.rehearsed(lambda watch: fit(more if alike else few, watch), limit)
        second = first if alike else meter.rehearsed(lambda watch: fit(more, watch), limit)
        asked = meter.rehearsed(invert, limit)
    except (OutOfTime, SplitLabError, RuntimeError, ValueError, IndexError):
        return None
    learned = attack.learned_images(pairs, size)
    fitted = extended((more if alike else few, first), (more, second), pairs, learned)
    return fitted + asked.seconds * victims / len(seen[0].ids)


class _Relay:
    """A progress whose display can be changed after it was handed out."""

    def __init__(self) -> None:
        self.to: Progress = Silent()

    def task(self, name: str, total: int, done: int = 0) -> Work:
        return self.to.task(name, total, done)
