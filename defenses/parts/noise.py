"""What noise on features has in common: drawn once and kept, or drawn for every row anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from splitlab.contracts import Defense, Protector
from splitlab.randomness import Draw, KeyedDraw, Secret

DrawMode = Annotated[
    Literal["fresh", "fixed"],
    Field(description="noise anew for every row of every request, or once for the deployment"),
]
NoiseSampler = Callable[[Tensor, Draw, str], Tensor]
"""(like [B, *feature_shape], source of randomness, purpose) -> noise of that shape."""


class Noise(Protector):
    """Combines a feature with noise; the fixed noise is the buffer `noise` [*feature_shape].

    Args:
        combine: (feature, noise) -> protected feature; must not write into its arguments.
        sample: draws fresh noise; unused where `fixed` is given.
        fixed: noise of one feature, shared by all rows of all requests.
    """

    noise: Tensor | None

    def __init__(
        self,
        combine: Callable[[Tensor, Tensor], Tensor],
        sample: NoiseSampler,
        fixed: Tensor | None,
    ) -> None:
        super().__init__()
        self.combine, self.sample = combine, sample
        self.register_buffer("noise", fixed)

    def forward(self, feature: Tensor, draw: Draw) -> Tensor:
        if self.noise is not None:
            return self.combine(feature, self.noise.to(feature))
        return self.combine(feature, self.sample(feature, draw, self.purpose))


class NoiseDefense(Defense):
    """A defence that is one `Noise` on the client; subclasses say how to sample and combine."""

    draw: DrawMode = "fresh"

    @property
    def stochastic(self) -> bool:
        return self.draw == "fresh"

    def sample(self, like: Tensor, draw: Draw, purpose: str) -> Tensor:
        """Noise of `like`'s shape, dtype and device."""
        raise NotImplementedError

    def combine(self, feature: Tensor, noise: Tensor) -> Tensor:
        """z and noise (broadcast over the batch) -> z'. Additive unless overridden."""
        return feature + noise

    def as_fresh(self) -> Self:
        return self.model_copy(update={"draw": "fresh"})

    def protector(self, feature_shape: tuple[int, ...], secret: Secret) -> Noise:
        fixed = None
        if self.draw == "fixed":
            source = KeyedDraw(secret, f"fixed noise of {self.name}")
            fixed = self.sample(torch.empty(1, *feature_shape), source, "fixed")[0]
        return Noise(self.combine, self.sample, fixed)


SMALLEST = 2.0**-25
"""Half a step of a uniform float32: keeps the logarithm finite where the draw is exactly 0."""


def standard_laplace(uniform: Tensor) -> Tensor:
    """Numbers uniform in [0, 1) -> the same from a Laplace distribution of mean 0 and scale 1."""
    centred = uniform - 0.5
    tail = (1 - 2 * centred.abs()).clamp_min(SMALLEST)
    return -torch.sign(centred) * torch.log(tail)
