"""Networks between small maps and images: a generator by transposed convolutions, and the critic or
discriminator that judges it.

Layers as in the generators of Dosovitskiy and Brox 2016 (arXiv:1602.02644, DeePSiM) and of the
WGAN of Zhang et al. 2020 (arXiv:1911.07135, GMI); widths and depths follow from the sizes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec

SMALLEST = 4
"""Side of the map that a vector is spread over, and that a critic ends on."""
MOST = 8
"""Channels on the smallest map, in units of `width`."""
LEAK = 0.3
"""Slope of DeePSiM's activations below 0."""


class Upconvolution(nn.Module):
    """z [B, *feature_shape] -> images [B, 3, S, S] in [0, 1].

    Args:
        feature: shape of what it starts from; a vector is spread over a 4x4 map.
        size: side S of the images.
        width: channels before the last layer, doubled on each coarser map.
        normed: batch norm and ReLU after each layer (GMI), else leaky ReLU alone (DeePSiM).
    """

    def __init__(self, feature: FeatureSpec, size: int, width: int, *, normed: bool) -> None:
        super().__init__()
        self.read, self.size = FeatureMap(feature), size
        channels, height, breadth = self.read.shape
        vector = height == breadth == 1
        side = SMALLEST if vector else min(height, breadth)
        doublings = max(0, math.ceil(math.log2(size / side)))
        wide = width * min(MOST, 2 ** max(0, doublings - 1))
        layers: list[nn.Module] = []
        if vector:
            layers += [nn.Conv2d(channels, wide * side**2, 1), nn.PixelShuffle(side)]
        else:
            layers += [nn.Conv2d(channels, wide, 3, padding=1)]
        layers += _after(wide, normed)
        if not normed:
            layers += [nn.Conv2d(wide, wide, 3, padding=1), *_after(wide, normed)]
        for _ in range(doublings - 1):
            narrower = max(width, wide // 2)
            layers += [_double(wide, narrower), *_after(narrower, normed)]
            wide = narrower
            if not normed:
                layers += [nn.Conv2d(wide, wide, 3, padding=1), *_after(wide, normed)]
        layers += [_double(wide, 3) if doublings else nn.Conv2d(wide, 3, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, feature: Tensor) -> Tensor:
        images = torch.sigmoid(self.layers(self.read(feature)))
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="area")
        return images


class Critic(nn.Module):
    """Images [B, 3, S, S] in [0, 1], and features where it is conditional -> scores [B].

    Args:
        size: side S of the images.
        width: channels after the first layer, doubled with each halving.
        feature: of what an image is judged beside; None for images alone.
        normed: instance norms, as the WGAN has them.
    """

    def __init__(
        self, size: int, width: int, *, feature: FeatureSpec | None = None, normed: bool = True
    ) -> None:
        super().__init__()
        halvings = max(1, round(math.log2(size / SMALLEST)))
        layers: list[nn.Module] = []
        before = 3
        for number in range(halvings):
            after = width * min(MOST, 2**number)
            layers.append(nn.Conv2d(before, after, 5, stride=2, padding=2))
            if normed and number:
                layers.append(nn.InstanceNorm2d(after, affine=True))
            layers.append(nn.LeakyReLU(0.2))
            before = after
        self.look = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(SMALLEST), nn.Flatten())
        numbers = before * SMALLEST**2
        self.beside: nn.Module | None = None
        if feature is not None:
            read = FeatureMap(feature)
            pool = nn.AdaptiveAvgPool2d(min(SMALLEST, *read.shape[1:]))
            count = read.shape[0] * min(SMALLEST, *read.shape[1:]) ** 2
            told = nn.Sequential(nn.Linear(count, 4 * width), nn.LeakyReLU(0.2))
            self.beside = nn.Sequential(read, pool, nn.Flatten(), told)
            numbers += 4 * width
        self.judge = nn.Linear(numbers, 1)

    def forward(self, images: Tensor, feature: Tensor | None = None) -> Tensor:
        seen = self.look(2 * images - 1)
        if self.beside is not None:
            assert feature is not None
            seen = torch.cat([seen, self.beside(feature)], 1)
        scores: Tensor = self.judge(seen)[:, 0]
        return scores


def _double(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1)


def _after(channels: int, normed: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.ReLU()] if normed else [nn.LeakyReLU(LEAK)]
