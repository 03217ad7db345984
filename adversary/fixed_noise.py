"""Read a fixed additive tensor off the captured features of a head that ends in a ReLU.

A ReLU answers exactly 0 for a share of the images, so what is added to it is, at each place, the
smallest value that ever crosses the wire, and it crosses again and again.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FixedNoise(NamedTuple):
    """What was read.

    Args:
        tensor: [*feature_shape]; 0 where it could not be told.
        share: of the elements where it could, in [0, 1].
    """

    tensor: Tensor
    share: float


def fixed_noise(features: Tensor, tolerance: float = 1e-3, repeats: int = 3) -> FixedNoise:
    """The smallest value of each element, where at least `repeats` captures sit on it.

    Args:
        features: captured, [n, *feature_shape].
        tolerance: how near to the smallest value counts as on it, in standard deviations of all
            features; wide enough for a wire of 16 bits.
        repeats: captures that must agree; below it the element is taken as free of noise.
    """
    lowest = features.amin(0)
    near = (features - lowest) <= tolerance * features.std()
    known = near.sum(0) >= min(repeats, len(features))
    return FixedNoise(torch.where(known, lowest, 0.0), float(known.float().mean()))
