"""Choose learning rate and TV weight for `rmle` on the adversary's own validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from adversary.inversion.rmle.matching import MatchingSettings, match_features
from splitlab.contracts import InputSpec

LEARNING_RATES = (0.1, 0.3, 1.0, 3.0)
"""With AMSGrad's eps of 1e-3, far above most gradients here, the first step is a few hundredths of
the rate: the papers' 0.01 needs thousands of steps, ResSFL takes 0.8."""
TV_WEIGHTS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
TOLERANCE = 1.5
"""The strongest TV is taken that costs less than this factor in feature loss. By features alone the
weakest would win, although of images that explain them equally well the smoother is likelier."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What settings are tried on.

    Args:
        model: images [B, 3, S, S] in [0, 1] -> features, as the adversary models the client.
        seen: z^ [n, *feature_shape] of n validation images, spoilt as on the wire.
        truth: their features before that, which only their owner knows.
        counts: weight of each element of the feature loss, or None.
        given: the images' size, mean and deviation.
        unit: what the feature loss is divided by.
        rng: of the first images.
        advance: told the number of images after every step.
    """

    model: Callable[[Tensor], Tensor]
    seen: Tensor
    truth: Tensor
    counts: Tensor | None
    given: InputSpec
    unit: float
    rng: torch.Generator
    advance: Callable[[int], None]

    def losses(self, options: Sequence[MatchingSettings]) -> list[float]:
        """Mean squared distance to the true features that each option ends with."""
        times = (len(options), *[1] * (self.seen.ndim - 1))
        match = match_features(
            self.model,
            self.seen.repeat(times),
            [option for option in options for _ in self.seen],
            self.given,
            self.rng,
            None if self.counts is None else self.counts.repeat(times),
            self.unit,
            self.advance,
        )
        with torch.no_grad():
            error = (self.model(match.images) - self.truth.repeat(times)).square()
        return error.flatten(1).mean(1).view(len(options), -1).mean(1).tolist()


def choose(
    bench: Bench, base: MatchingSettings, rate: float | None, tv: float | None
) -> MatchingSettings:
    """`base` with the rate of the least loss, then the strongest TV of nearly the least.

    Args:
        base: of one trial; its steps are those of a trial.
        rate, tv: already decided where not None.
    """
    if rate is None:
        options = [replace(base, learning_rate=r, tv=tv or 0.0) for r in LEARNING_RATES]
        losses = bench.losses(options)
        rate = LEARNING_RATES[losses.index(min(losses))]
    if tv is None:
        options = [replace(base, learning_rate=rate, tv=weight) for weight in TV_WEIGHTS]
        losses = bench.losses(options)
        near = [loss <= TOLERANCE * min(losses) for loss in losses]
        tv = max(weight for weight, good in zip(TV_WEIGHTS, near, strict=True) if good)
    return replace(base, learning_rate=rate, tv=tv)
