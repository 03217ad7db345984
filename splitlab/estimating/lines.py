"""From what a few images take to what many do, and from a few split points to all."""

from __future__ import annotations

from splitlab.estimating.meter import Took


def on_a_line(few: tuple[float, float], more: tuple[float, float], at: float) -> float:
    """The straight line through two (size, seconds), at a larger size.

    More work takes no less: a line that falls, as noise makes it, is taken as level.
    """
    (small, first), (large, second) = few, more
    slope = max(0.0, (second - first) / (large - small)) if large > small else 0.0
    return second + slope * (at - large)


def extended(
    few: tuple[int, Took], more: tuple[int, Took], at: int, total: float | None = None
) -> float:
    """Seconds of work on `at` images, of which two rehearsals saw so many.

    What was outside of loops lies on a line. So do the units of the loops, by their names; each
    takes what it took in the larger rehearsal.

    Args:
        total: units of all loops together, where that is known better.
    """
    (small, first), (large, second) = few, more
    seconds = on_a_line((small, first.rest), (large, second.rest), at)
    names = list(dict.fromkeys(loop.name for loop in second.loops))
    units = 0.0
    inside = 0.0
    for name in names:
        own = [loop for loop in second.loops if loop.name == name]
        before = sum(loop.total for loop in first.loops if loop.name == name)
        after = sum(loop.total for loop in own)
        there = on_a_line((small, before), (large, after), at)
        units += there
        inside += there * sum(loop.seconds for loop in own) / after if after else 0.0
    if total is not None and units:
        inside *= total / units
    return seconds + inside


def between(count: int, place: int, several: int = 3) -> tuple[int, int, float]:
    """Of `count` split points `several` are measured, the first and the last among them: those on
    either side of `place`, and how far it lies towards the second.
    """
    last, several = count - 1, min(several, count)
    known = sorted({round(n * last / max(1, several - 1)) for n in range(several)})
    left = max(n for n in known if n <= place)
    right = min(n for n in known if n >= place)
    return left, right, (place - left) / (right - left) if right > left else 0.0
