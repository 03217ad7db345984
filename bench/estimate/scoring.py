"""What scoring takes: each metric on a few images, reckoned up by what it compares."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.estimating.commands import few
from adversary.parts.budget import FULL_SIZE
from splitlab.contracts import Kind, Metric
from splitlab.contracts.kinds import IMAGE
from splitlab.data import ImageSet
from splitlab.errors import SplitLabError
from splitlab.estimating import Meter
from splitlab.metrics import evaluate, mean_interval

SCORED, GALLERY = 8, 32
"""Reconstructions and victims of a sample; 2 and 16 on images above `FULL_SIZE`."""
TWICE = 2
"""The attack's estimates are scored, and then the floor's."""

Growth = Callable[[int, int], float]
"""(estimates, victims) -> how much there is to do."""


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


class Scoring:
    """Seconds of `bench.point.score.score`, for any number of estimates of any kind.

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
        self._scored, gallery = (SCORED, GALLERY) if small else (2, 16)
        self._few, self._meter = few(victims, gallery), meter
        self._context: dict[str, Any] = {
            "truth_index": torch.arange(self._scored),
            "embed": embed,
            "lpips_weights": lpips_weights,
            "member": torch.arange(gallery) % 2 == 0,
        }
        self._victims = len(victims)
        values = torch.rand(len(victims))
        self._interval = meter.seconds(lambda: mean_interval(values, victims.groups))
        self._units: dict[str, dict[str, float]] = {}

    def seconds(self, scored: int, kind: Kind = IMAGE) -> float:
        """Of one attack's estimates; 0 of a kind whose truth a few victims do not tell."""
        metrics = kind.load_metrics()
        if kind.name not in self._units:
            self._units[kind.name] = self._measured(kind, metrics)
        units = self._units[kind.name]
        growing = sum(
            units.get(metric.name, 0.0) * growth_of(metric)(scored, self._victims)
            for metric in metrics
        )
        return TWICE * (growing + len(metrics) * self._interval)

    def _measured(self, kind: Kind, metrics: tuple[Metric, ...]) -> dict[str, float]:
        try:
            gallery = kind.truth(self._few, self._context)
        except SplitLabError:
            return {}
        truth, context = gallery[: self._scored], {**self._context, "gallery": gallery}
        guess = truth.flip(-1)
        return {
            metric.name: self._meter.seconds(partial(evaluate, [metric], truth, guess, context))
            / growth_of(metric)(self._scored, len(gallery))
            for metric in metrics
        }


def growth_of(metric: Metric) -> Growth:
    """How the work of a metric grows, by what it takes out of the context."""
    if "gallery" not in metric.needs:
        return each
    return both if "embed" in metric.needs else pairs
