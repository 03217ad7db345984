"""An inverse network whose architecture follows from the feature's shape and the image's size.

Two paths from the feature read as a map: a linear one (one convolution, then pixels are shuffled
into place), which may start as the closed-form inverse, and a residual one that works at the
feature's own resolution, is shuffled up and refined at the image's. Their sum is the image. The
residual path ends in zeros, so that training starts from the linear inverse and only improves it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.parts.feature_map import FeatureMap
from adversary.parts.linear_inverse import linear_inverse
from splitlab.contracts import FeatureSpec

LARGEST_BLOCK = 16
"""Pixels a side that the linear path predicts at each place of a map; the rest is interpolated."""
LARGEST_THUMBNAIL = 32
"""The same for a vector, whose one place is the whole image."""
WIDEST_NEIGHBOURHOOD = 1024
"""Above so many numbers the linear path sees its own place only, not the eight around it."""
FINE = 16
"""Channels at the image's own resolution."""


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), the last convolution starting at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.second(F.relu(self.first(F.relu(maps))))


class InverseNetwork(nn.Module):
    """z [B, *feature_shape] -> images [B, 3, S, S], not clamped.

    Args:
        feature: shape of one feature.
        size: side S of an image in pixels.
        width: channels of the residual path on an 8x8 map; narrower on finer maps, so that the
            cost hardly depends on the split point.
        depth: residual blocks at the feature's resolution.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, feature: FeatureSpec, size: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.size = size
        self.read = FeatureMap(feature)
        channels, height, breadth = self.read.shape
        self.is_vector = height == breadth == 1
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        ratio = math.ceil(size / min(height, breadth))
        self.block = min(ratio, LARGEST_THUMBNAIL if self.is_vector else LARGEST_BLOCK)
        wide = self.is_vector or channels * 9 > WIDEST_NEIGHBOURHOOD
        self.side = 1 if wide else 3
        self.linear = nn.Conv2d(channels, 3 * self.block**2, self.side, padding=self.side // 2)
        # A vector is first spread over a small map, of an eighth of the image's side.
        self.base = max(2, min(8, size // 8)) if self.is_vector else min(height, breadth)
        low = max(FINE, min(4 * width, 8 * width // self.base))
        entry: nn.Module = nn.Conv2d(channels, low, 3, padding=1)
        if self.is_vector:
            spread = nn.Conv2d(channels, low * self.base**2, 1)
            entry = nn.Sequential(spread, nn.PixelShuffle(self.base))
        self.up = math.ceil(size / self.base)
        self.coarse = nn.Sequential(
            entry,
            *(Residual(low) for _ in range(depth)),
            nn.ReLU(),
            nn.Conv2d(low, FINE * self.up**2, 1),
            nn.PixelShuffle(self.up),
        )
        self.fine = nn.Sequential(
            nn.Conv2d(FINE + 3, FINE, 3, padding=1), Residual(FINE), nn.ReLU()
        )
        self.last = nn.Conv2d(FINE, 3, 3, padding=1)
        for layer in (self.linear, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.linear.bias, 0.5)  # type: ignore[arg-type]

    def forward(self, feature: Tensor) -> Tensor:
        maps = (self.read(feature) - self.mean) / self.std
        image = self._fit(F.pixel_shuffle(self.linear(maps), self.block))
        detail = self._fit(self.coarse(maps))
        return image + self.last(self.fine(torch.cat([detail, 4 * image - 2], 1)))

    def _fit(self, images: Tensor) -> Tensor:
        """To the image's side, where blocks or an oblong map do not come out even."""
        if images.shape[-2:] == (self.size, self.size):
            return images
        shrink = images.shape[-1] > self.size
        return F.interpolate(
            images, (self.size, self.size), mode="bilinear", antialias=shrink, align_corners=False
        )

    @torch.no_grad()
    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of each channel from `features` [N, *feature_shape]."""
        maps = self.read(features)
        self.mean.copy_(maps.mean((0, 2, 3), keepdim=True))
        self.std.copy_(maps.std((0, 2, 3), keepdim=True).clamp_min(1e-4))

    @torch.no_grad()
    def start_linear(self, features: Tensor, images: Tensor, rng: torch.Generator) -> float:
        """Set the linear path to the closed-form inverse; returns its held-out squared error.

        Args:
            features: [N, *feature_shape], of which mean and deviation are taken first.
            images: [N, 3, S, S] in [0, 1], on the same device.
        """
        self.standardise(features)
        maps = (self.read(features) - self.mean) / self.std
        height, breadth = maps.shape[-2] * self.block, maps.shape[-1] * self.block
        if images.shape[-2:] != (height, breadth):
            images = F.interpolate(images, (height, breadth), mode="bilinear", antialias=True)
        neighbourhood = maps.shape[1] * self.side**2
        places = max(4 * neighbourhood, min(40_000, 20_000_000 // neighbourhood))
        blocks = F.pixel_unshuffle(images, self.block)
        found = linear_inverse(maps, blocks, self.side, places, rng)
        self.linear.weight.copy_(found.weight)
        self.linear.bias.copy_(found.bias)  # type: ignore[union-attr]
        return found.error
