"""INT8 with a scale and a zero point for each image and channel: x ~ (q - zero_point) * scale.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018), Eq. 1, with a zero point that need not be whole: it travels as FP32, so the
smallest value of a channel is met exactly, and zero is where the channel's minimum is zero (after
a ReLU).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from splitlab.contracts import FeatureSpec

LEVELS = 255
LOWEST = -128
# A zero point travels as FP32 with 24 bits: up to 2**16 its own rounding costs less than 1 % of a
# level. A channel that sits further from zero than 2**16 of its levels is given wider levels.
ZERO_POINT_LIMIT = 2.0**16
SMALLEST_SCALE = float(np.finfo(np.float32).tiny)


def parameter_columns(shape: tuple[int, ...]) -> int:
    """How many scales one image's feature of `shape` has: one a channel.

    Where a channel holds a single value (a vector, a 1x1 map), the image has one scale in all: a
    scale for each value would cost more than the values themselves.
    """
    spec = FeatureSpec(shape=shape)
    return 1 if spec.channels == math.prod(shape) else spec.channels


def _channels_first(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """[B, *shape] -> a view [B, columns, values of a channel]."""
    shape = tuple(values.shape[1:])
    columns = parameter_columns(shape)
    if columns > 1 and FeatureSpec(shape=shape).channel_axis == -1:
        values = np.moveaxis(values, -1, 1)
    return values.reshape(values.shape[0], columns, -1)


def quantise(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """[B, *shape] -> (int8 [B, *shape], scale [B, columns], zero point [B, columns]).

    The error of a value is at most half a scale, and a scale is (max - min) / 255 of its channel
    (wider where the whole channel lies far from zero, see `ZERO_POINT_LIMIT`).
    """
    groups = _channels_first(values).astype(np.float64)
    low, high = groups.min(axis=2), groups.max(axis=2)
    far = np.maximum(np.abs(low), np.abs(high)) / ZERO_POINT_LIMIT
    scale = np.maximum((high - low) / LEVELS, far)
    scale = np.where(scale < SMALLEST_SCALE, 1.0, scale).astype(np.float32)
    zero_point = (LOWEST - low / scale.astype(np.float64)).astype(np.float32)
    wide_scale, wide_zero = _spread(scale, values), _spread(zero_point, values)
    whole = np.rint(values / wide_scale.astype(np.float64) + wide_zero)
    return np.clip(whole, LOWEST, LOWEST + LEVELS).astype(np.int8), scale, zero_point


def dequantise(
    whole: NDArray[np.int8], scale: NDArray[np.float32], zero_point: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The inverse of `quantise`, up to its rounding. Overflow gives Inf, which callers refuse."""
    centred = whole.astype(np.float32) - _spread(zero_point, whole)
    with np.errstate(over="ignore"):
        product: NDArray[np.float32] = centred * _spread(scale, whole)
    return product


def _spread(parameter: NDArray[np.float32], like: NDArray[np.generic]) -> NDArray[np.float32]:
    """[B, columns] -> a view that broadcasts against [B, *shape]."""
    rows, columns = parameter.shape
    between = [1] * (like.ndim - 2)
    if columns > 1 and FeatureSpec(shape=tuple(like.shape[1:])).channel_axis == -1:
        return parameter.reshape(rows, *between, columns)
    return parameter.reshape(rows, columns, *between)
