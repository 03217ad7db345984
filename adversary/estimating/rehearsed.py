"""What an attack takes: its own code on a few images, reckoned up to all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Estimator, Fits, Workplace
from adversary.parts.budget import FULL_SIZE
from splitlab.contracts import Seen
from splitlab.errors import SplitLabError
from splitlab.estimating import Meter, Took, extended
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
    lent: bool = False,
) -> float | None:
    """Seconds of `run_attack`, the making of its threat model included; None if it cannot be told.

    The fit is rehearsed with two numbers of images, which tells what grows with them; one that
    learns nothing, or is rehearsed with all there are, once. What it borrows of other attacks is
    told from what it does by itself: each is rehearsed again with the borrowed fits at hand. What
    the answers take is in proportion to the features that are inverted.

    Args:
        seen: what it sees, of a few items, such as `answered` says.
        size: side of an image in pixels.
        pairs: own images that it learns from.
        victims: features that it inverts.
        limit: seconds of each rehearsal.
        lent: whether other rows of the run make the fits that it borrows, so that they cost
            nothing here.
    """
    fitting = _Fitting(attack, threats, meter, device, limit)
    few, more = sizes(size, pairs)
    try:
        whole = fitting.rehearsed(more)
        same = more == pairs or (attack.fitted_on == "nothing" and not whole.borrowed)
        # Of one that learns nothing itself, what it does by itself is known.
        own = whole.own if attack.fitted_on == "nothing" else None
        less = whole if same else fitting.rehearsed(few, own)
        asked = fitting.answered(seen)
    except (OutOfTime, SplitLabError, RuntimeError, ValueError, IndexError):
        return None
    few = more if same else few
    learned = attack.learned_images(pairs, size)
    seconds = extended((few, less.own), (more, whole.own), pairs, learned)
    if whole.borrowed and not lent:
        counts = [other.learned_images(pairs, size) for other in whole.borrowed]
        total = None if None in counts else sum(one or 0 for one in counts)
        seconds += extended((few, less.started), (more, whole.started), pairs, total)
    return seconds + asked.seconds * victims / len(seen[0].ids)


class _Rehearsed(NamedTuple):
    """One fit.

    Args:
        own: what it does by itself.
        started: what the fits take that it borrows.
        borrowed: whose they are.
    """

    own: Took
    started: Took
    borrowed: tuple[Attack, ...]


class _Fitting:
    """Fits an attack in rehearsals, and lets the last of them answer."""

    def __init__(
        self, attack: Attack, threats: Threats, meter: Meter, device: str, limit: float
    ) -> None:
        self._attack, self._threats, self._meter = attack, threats, meter
        self._device, self._limit = device, limit
        self._relay, self._kept = _Relay(), list[Estimator]()

    def rehearsed(self, count: int, own: Took | None = None) -> _Rehearsed:
        """With `count` own images; `own` where it is known what the attack does by itself."""
        fits, borrowed = Fits(), list[Attack]()
        whole = self._fit(count, fits, borrowed)
        if not borrowed:
            return _Rehearsed(whole, Took(0.0), ())
        own = own or self._fit(count, fits, [])
        names = {loop.name for loop in own.loops}
        others = tuple(loop for loop in whole.loops if loop.name not in names)
        started = Took(max(0.0, whole.rest - own.rest), others)
        return _Rehearsed(own, started, tuple(borrowed))

    def answered(self, seen: tuple[Seen, ...]) -> Took:
        def invert(watch: Progress) -> None:
            self._relay.to = watch
            self._kept[-1](*seen)

        return self._meter.rehearsed(invert, self._limit)

    def _fit(self, count: int, fits: Fits, borrowed: list[Attack]) -> Took:
        def fit(watch: Progress) -> None:
            self._relay.to = watch
            threat = self._threats(count)
            threat.fingerprint()
            rng = torch.Generator().manual_seed(0)
            work = _Noting(self._device, self._relay, grant=threat, fits=fits, noted=borrowed)
            self._kept.append(self._attack.fit(threat, rng, work))
            threat.fingerprint()

        return self._meter.rehearsed(fit, self._limit)


@dataclass(frozen=True, eq=False)
class _Noting(Workplace):
    """Writes down whose fits were borrowed."""

    noted: list[Attack] = field(default_factory=list)

    def made(self, attack: Any, rng: torch.Generator) -> Estimator:
        self.noted.append(attack)
        return super().made(attack, rng)


class _Relay:
    """A progress whose display can be changed after it was handed out."""

    def __init__(self) -> None:
        self.to: Progress = Silent()

    def task(self, name: str, total: int, done: int = 0) -> Work:
        return self.to.task(name, total, done)
