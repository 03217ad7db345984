"""Features -> images by a prior that is ready: starts, samples and their means, in pieces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from adversary.inversion.drag.sampler import (
    Epsilon,
    GuidanceSettings,
    feature_distance,
    guided_samples,
)
from adversary.inversion.drag.schedule import visited
from adversary.inversion.drag.training import DiffusionPrior, resized
from adversary.inversion.rmle.matching import rows_at_once
from adversary.inversion.rmle.start import Starter
from splitlab.pieces import in_pieces
from splitlab.randomness import generator
from splitlab.storage import hash_tensors

Advance = Callable[[int], None]


class PriorAnswer(NamedTuple):
    """
    Args:
        images: [n, 3, S, S] in [0, 1]; NaN where a sample diverged.
        blind: bool [n], features that never changed with the pixels.
    """

    images: Tensor
    blind: Tensor


@dataclass(frozen=True, eq=False)
class PriorInverter:
    """
    Args:
        prior: on `place`.
        model: images [n, 3, size, size] in [0, 1] -> features as they arrive, differentiable.
        settings: of the sampler.
        begin: of another attack; None to begin at noise.
        samples: whose mean an image is.
        size: side of the images in pixels.
        lossy: whether a feature's zeros are lost elements.
        seed: public; what is drawn for a feature depends on it and on the feature alone.
    """

    prior: DiffusionPrior
    model: Callable[[Tensor], Tensor]
    settings: GuidanceSettings
    begin: Starter | None
    samples: int
    size: int
    lossy: bool
    seed: int
    place: torch.device

    @property
    def piece(self) -> int:
        """Features that are inverted together."""
        return max(1, rows_at_once(self.prior.size) // self.samples)

    def updates(self, strength: float) -> int:
        """Of one image."""
        if not strength:
            return 0
        times = visited(len(self.prior.alpha_bar), self.settings.steps, strength)
        return len(times) * self.settings.recurrence * self.samples

    def started(self, seen: Tensor) -> tuple[Tensor | None, list[str]]:
        """Images to begin at [n, 3, S, S], and what is doubtful of them; None for noise."""
        if self.begin is None:
            return None, []
        parts, doubts = [], dict[str, None]()
        for z in seen.split(self.piece):
            parts.append(self.begin(z).to(self.place))
            doubts.update(dict.fromkeys(self.begin.doubts))
        return torch.cat(parts), list(doubts)

    def invert(
        self, seen: Tensor, start: Tensor | None, strength: float, unit: float, told: Advance
    ) -> PriorAnswer:
        """The means of samples; with a strength of 0 the start itself.

        Args:
            seen: z^ [n, *feature_shape].
            start: as `started` gives it.
            unit: see `guided_samples`.
            told: the number of samples after every update.
        """
        if start is not None and not strength:
            return PriorAnswer(start, torch.zeros(len(start), dtype=torch.bool))
        starts: Sequence[Tensor | None] = [None] * -(-len(seen) // self.piece)
        if start is not None:
            starts = start.split(self.piece)
        parts = [
            self._piece(z.to(self.place), one, strength, unit, told)
            for z, one in zip(seen.split(self.piece), starts, strict=True)
        ]
        return PriorAnswer(*(torch.cat(one) for one in zip(*parts, strict=True)))

    def _piece(
        self, z: Tensor, start: Tensor | None, strength: float, unit: float, told: Advance
    ) -> tuple[Tensor, Tensor]:
        rows = z.repeat_interleave(self.samples, 0)
        if start is not None:
            start = resized(start, self.prior.size).repeat_interleave(self.samples, 0)
        rngs = [
            generator(self.seed, "sample", number, hash_tensors({"z": one.cpu()}))
            for one in z
            for number in range(self.samples)
        ]
        epsilon: Epsilon = self.prior.epsilon
        found = guided_samples(
            epsilon,
            self.prior.alpha_bar,
            lambda images: self.model(resized(images, self.size)),
            rows,
            replace(self.settings, strength=strength),
            rngs,
            self.prior.size,
            start=start,
            counts=self._counts(rows),
            unit=unit,
            advance=told,
        )
        mean = found.images.unflatten(0, (len(z), self.samples)).mean(1)
        return resized(mean, self.size), found.blind.cpu()[:: self.samples]

    @torch.no_grad()
    def loss(self, images: Tensor, seen: Tensor, unit: float) -> float:
        """Mean feature distance of images from what was seen."""
        seen = seen.to(self.place)
        found = in_pieces(self.model, images, rows_at_once(self.size))
        own = self._counts(seen)
        return float(feature_distance(found, seen, self.settings.distance, unit, own).mean())

    def _counts(self, seen: Tensor) -> Tensor | None:
        return (seen != 0).to(seen) if self.lossy else None


def unit_of(seen: Tensor) -> float:
    """The features' variance, that a squared difference is measured by."""
    return max(float(seen.var(correction=0)), 1e-12)
