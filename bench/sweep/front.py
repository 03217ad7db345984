"""Which places of a sweep no other one beats, as far as its measurements can tell them apart.

A difference counts where it is clear, and a p50 of a few requests, a mean over some victims and a
share of them are not exact. One place beats another that is clearly worse in something, leakage,
accuracy, bytes or a link's latency, and clearly better in nothing. Small differences add up, so
that this is no order: a place may beat one that beats one that it does not. What is left out is
therefore what a place on the front beats, never what only another one left out does, and places
that beat each other in a circle stay together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from bench.sweep.recommend import Candidate, Leak, places
from splitlab.record import Record

LATENCY_SHARE = 0.05
"""Of the quicker one: the p50 of eight requests, and the mean of those with modelled losses, come
back within it."""
FRONT_RULE = (
    "A place is off the Pareto front where one on it is clearly better in leakage, accuracy, bytes "
    "or a link's latency and clearly worse in none. Not clear are a leakage within the other's "
    "interval (without one, the least difference that its metric tells), an accuracy within a "
    "standard error over the victims and a latency within "
    f"{100 * LATENCY_SHARE:g} %; bytes are exact."
)


def pareto_front(records: Sequence[Record]) -> frozenset[str]:
    """Split points on the front, by `FRONT_RULE`; at least one where there is any."""
    found = places(records)
    beaten_by = {
        one.split: frozenset(other.split for other in found if beats(other, one)) for one in found
    }
    front: frozenset[str] = frozenset()
    left = frozenset(beaten_by)
    while left:
        above = {name: _above(name, beaten_by, left) for name in left}
        # beaten by none that is left, or only by those that it beats in turn
        front |= {name for name in left if all(name in above[other] for other in above[name])}
        left = frozenset(name for name in left - front if not beaten_by[name] & front)
    return front


def _above(name: str, beaten_by: Mapping[str, Set[str]], left: Set[str]) -> frozenset[str]:
    """Those left that beat it, directly or through others."""
    found: set[str] = set()
    new = beaten_by[name] & left
    while new:
        found |= new
        new = {other for each in new for other in beaten_by[each] & left} - found
    return frozenset(found)


def beats(other: Candidate, one: Candidate) -> bool:
    """Whether `other` is clearly better in something and clearly worse in nothing."""
    return _clearly_better(other, one) and not _clearly_better(one, other)


def _clearly_better(a: Candidate, b: Candidate) -> bool:
    """Whether `a` is so in accuracy, bytes, the latency of a link or the leakage of a kind that
    both have.
    """
    return (
        any(
            _leaks_clearly_less(own, other)
            for own in a.leaks
            for other in b.leaks
            if own.quantity == other.quantity
        )
        or a.accuracy - b.accuracy > max(_resolved(a), _resolved(b))
        or a.payload < b.payload
        or any(
            a.links[link] * (1 + LATENCY_SHARE) < b.links[link]
            for link in a.links
            if link in b.links
        )
    )


def _leaks_clearly_less(a: Leak, b: Leak) -> bool:
    """Whether it reveals less and neither mean lies in the other's interval."""
    (low_a, high_a), (low_b, high_b) = _interval(a), _interval(b)
    if a.quantity.leakage == "rises":
        return a.value < low_b and high_a < b.value
    return a.value > high_b and low_a > b.value


def _interval(leak: Leak) -> tuple[float, float]:
    if leak.interval is not None:
        return leak.interval
    return leak.value - leak.quantity.resolved, leak.value + leak.quantity.resolved


def _resolved(place: Candidate) -> float:
    """Points that an accuracy over the victims can resolve: a standard error, an image at least."""
    if not place.victims:
        return 0.0
    share = place.accuracy / 100
    return 100 * max((share * (1 - share) / place.victims) ** 0.5, 1 / place.victims)
