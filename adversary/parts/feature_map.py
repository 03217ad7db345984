"""Read any feature as a map [B, C, h, w], whatever its layout on the wire."""

from __future__ import annotations

import math

from torch import Tensor, nn

from splitlab.contracts import FeatureSpec

CLASS_TOKENS = 5
"""At most so many leading tokens are no patches: class, distillation and register tokens."""


def grid_of(tokens: int) -> tuple[int, int] | None:
    """(leading tokens to drop, side of the grid) where the others fill a square of 2x2 or more."""
    for extra in range(CLASS_TOKENS + 1):
        side = math.isqrt(max(tokens - extra, 0))
        if side >= 2 and side * side == tokens - extra:
            return extra, side
    return None


class FeatureMap(nn.Module):
    """z [B, *feature_shape] -> [B, C, h, w]; nothing is learned, nothing but class tokens is lost.

    A map stays; a channels-last grid is permuted; tokens are laid out as the square grid of patches
    that they came from, class tokens dropped; a vector, or tokens that fill no square, becomes one
    pixel with all its numbers as channels.

    Args:
        feature: shape of one feature.
    """

    def __init__(self, feature: FeatureSpec) -> None:
        super().__init__()
        self.layout, shape = feature.layout, feature.shape
        self.grid = grid_of(shape[0]) if self.layout == "tokens" else None
        self.shape: tuple[int, int, int]
        if self.layout == "map":
            self.shape = (shape[0], shape[1], shape[2])
        elif self.layout == "grid":
            self.shape = (shape[2], shape[0], shape[1])
        elif self.grid is not None:
            self.shape = (shape[1], self.grid[1], self.grid[1])
        else:
            self.shape = (feature.count, 1, 1)

    def forward(self, feature: Tensor) -> Tensor:
        if self.layout == "grid":
            return feature.permute(0, 3, 1, 2)
        if self.grid is not None:
            feature = feature[:, self.grid[0] :].transpose(1, 2)
        return feature.reshape(-1, *self.shape)
