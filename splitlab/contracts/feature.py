"""The shape of what crosses the wire, and which of its axes is the channel."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

FeatureLayout = Literal["map", "grid", "tokens", "vector"]


def layout_of(shape: tuple[int, ...]) -> FeatureLayout:
    """How one feature (without the batch) is laid out.

    "map" is [C, H, W], "grid" is channels-last [H, W, C] (Swin), "tokens" is [T, D], "vector" is
    [D]. A three-axis shape is a grid only where its first two axes are equal and the last differs
    from them; everything else is read as a map.
    """
    if len(shape) == 3:
        return "grid" if shape[0] == shape[1] != shape[2] else "map"
    return "tokens" if len(shape) == 2 else "vector"


class FeatureSpec(BaseModel):
    """Shape of one feature, without the batch, which is always dimension 0 on the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shape: tuple[int, ...]

    @property
    def layout(self) -> FeatureLayout:
        return layout_of(self.shape)

    @property
    def channel_axis(self) -> int:
        """Axis of the channel in a batched tensor: 1 for maps and vectors, -1 otherwise."""
        return 1 if self.layout in ("map", "vector") else -1

    @property
    def channels(self) -> int:
        return self.shape[0 if self.channel_axis == 1 else -1]

    @property
    def count(self) -> int:
        """Numbers per image."""
        return math.prod(self.shape)
