"""The client's secret choice: P of the N bodies' outputs (Liu and Xiong, "Ensembler", Eq. 1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput


@dataclass(frozen=True)
class Selector:
    """Which outputs the tail is fed. `repr` never shows the choice.

    Args:
        total: N, how many bodies answer.
        chosen: indices into 0..N-1, without repetition; their number is P.
    """

    total: int
    chosen: tuple[int, ...] = field(repr=False)

    def __post_init__(self) -> None:
        inside = all(0 <= i < self.total for i in self.chosen)
        if not self.chosen or not inside or len(set(self.chosen)) != len(self.chosen):
            raise BadInput(
                f"a selector needs distinct indices below {self.total}, at least one; "
                f"given were {len(self.chosen)}"
            )

    def __call__(self, outputs: list[Tensor]) -> Tensor:
        """N outputs [B, *output_shape] -> what the tail is fed.

        One body: its output as it is. P of N: each scaled by 1/P, concatenated along the channel
        axis (axis 1 for maps and vectors, the last one for tokens and channels-last grids).
        """
        if len(outputs) != self.total:
            raise BadInput(f"{self.total} outputs were wanted, {len(outputs)} came")
        if self.total == 1:
            return outputs[0]
        axis = FeatureSpec(shape=tuple(outputs[0].shape[1:])).channel_axis
        return torch.cat([outputs[i] / len(self.chosen) for i in self.chosen], dim=axis)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of what the tail is fed, from that of one body's output; without the batch."""
        wide = list(shape)
        wide[0 if FeatureSpec(shape=shape).channel_axis == 1 else -1] *= len(self.chosen)
        return tuple(wide)
