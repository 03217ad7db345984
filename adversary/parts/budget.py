"""How much work an attack's defaults do on large images: budgets in pixels, never by a clock.

They act on defaults alone, and on images of more than `FULL_SIZE` pixels a side; a setting that
was given is taken as it is. What was cut stands in the record, as facts and as a doubt.
"""

from __future__ import annotations

from typing import NamedTuple

FULL_SIZE = 64
"""Up to this side every default is done in full."""
LEARNED_PIXELS = 10_000_000
"""Pixels that an inverse network sees in all its passes together."""
LEAST_STEPS, LEAST_TRIAL_STEPS = 80, 15
"""Fewer than these a descent is not cut to, however large the image."""


ANSWERED_TOGETHER = 250
"""Features that an inverse network takes at a time, up to `FULL_SIZE`."""


class Passes(NamedTuple):
    """`epochs` passes over `rows` pairs."""

    epochs: int
    rows: int


def descent_steps(steps: int, least: int, size: int) -> int:
    """Steps on images of `size` pixels a side: as many pixel steps as at `FULL_SIZE`, or `least`.

    Never more than `steps`.
    """
    if size <= FULL_SIZE:
        return steps
    return min(steps, max(least, round(steps * (FULL_SIZE / size) ** 2)))


def learned_passes(epochs: int, rows: int, size: int) -> Passes:
    """Passes within `LEARNED_PIXELS`: fewer epochs first, then fewer pairs, of which 2 are left."""
    if size <= FULL_SIZE or epochs * rows * size**2 <= LEARNED_PIXELS:
        return Passes(epochs, rows)
    images = LEARNED_PIXELS // size**2
    fewer = min(epochs, max(1, images // rows)) if epochs else 0
    return Passes(fewer, min(rows, max(2, images // max(1, fewer))))


def answered_together(size: int) -> int:
    """Features to invert at a time: as many pixels as at `FULL_SIZE`, which bounds the memory."""
    if size <= FULL_SIZE:
        return ANSWERED_TOGETHER
    return max(1, ANSWERED_TOGETHER * FULL_SIZE**2 // size**2)
