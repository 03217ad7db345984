"""What scoring takes: each metric on a few images, reckoned up by what it compares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.parts.budget import FULL_SIZE
from bench.estimate.points import few
from bench.point.score import METRICS
from splitlab.data import ImageSet
from splitlab.estimating import Meter
from splitlab.metrics import evaluate, mean_interval
from splitlab.metrics.registry import METRICS as KNOWN

SCORED, GALLERY = 8, 32
"""Reconstructions and victims of a sample; 2 and 16 on images above `FULL_SIZE`."""
TWICE = 2
"""The attack's images are scored, and then the floor's."""

Growth = Callable[[int, int], float]
"""(reconstructions, victims) -> how much there is to do."""


def pairs(scored: int, gallery: int) -> float:
    """Each reconstruction is compared with each victim."""
    return float(scored * gallery)


def both(scored: int, gallery: int) -> float:
    """Each image of both goes through a network."""
    return float(scored + gallery)


def each(scored: int, gallery: int) -> float:
    """Each reconstruction is compared with its own victim."""
    del gallery
    return float(scored)


GROWTH: Mapping[str, Growth] = {
    "reidentified_by_pixels": pairs,
    "reidentified_by_features": both,
}
"""Of metrics that look at more than an image and its reconstruction."""


class Scoring:
    """Seconds of `bench.point.score.score`, for any number of reconstructions.

    Args:
        victims: all of them.
        embed: the judge's features.
    """

    def __init__(
        self,
        victims: ImageSet,
        embed: Callable[[Tensor], Tensor] | None,
        lpips_weights: Path | None,
        meter: Meter,
    ) -> None:
        small = victims.size <= FULL_SIZE
        scored, gallery = (SCORED, GALLERY) if small else (2, 16)
        images = few(victims, gallery).floats("cpu")
        context: dict[str, Any] = {
            "gallery": images,
            "truth_index": torch.arange(scored),
            "embed": embed,
            "lpips_weights": lpips_weights,
        }
        guess = images[:scored].flip(-1)
        self._units = {
            name: meter.seconds(partial(evaluate, [name], images[:scored], guess, context))
            / growth_of(name)(scored, gallery)
            for name in METRICS
        }
        self._victims = len(victims)
        values = torch.rand(len(victims))
        self._interval = meter.seconds(lambda: mean_interval(values, victims.groups))

    def seconds(self, scored: int) -> float:
        """Of one attack's reconstructions."""
        growing = sum(
            unit * growth_of(name)(scored, self._victims) for name, unit in self._units.items()
        )
        return TWICE * (growing + len(METRICS) * self._interval)


def growth_of(name: str) -> Growth:
    """How the work of a metric grows.

    Raises:
        UnknownName: no such metric.
    """
    KNOWN.load(name)
    return GROWTH.get(name, each)
