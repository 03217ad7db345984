"""An encoder and decoder with skip connections (Ulyanov, Vedaldi and Lempitsky 2018, "Deep Image
Prior", figure 21): its architecture alone is the prior of natural images.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAK = 0.2
SKIP = 4
"""Channels of a skip connection."""


class SkipNetwork(nn.Module):
    """Noise [B, given, S, S] -> images [B, 3, S, S] in [0, 1].

    Args:
        given: channels of the noise.
        widths: channels of each scale, from the image's own on; each halves the side.
    """

    def __init__(self, given: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        before = (given, *widths[:-1])
        self.skips = nn.ModuleList(_layer(wide, SKIP, 1) for wide in before)
        self.downs = nn.ModuleList(
            nn.Sequential(_layer(wide, own, 3, stride=2), _layer(own, own, 3))
            for wide, own in zip(before, widths, strict=True)
        )
        above = (*widths[1:], widths[-1])
        self.ups = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(wide + SKIP), _layer(wide + SKIP, own, 3), _layer(own, own, 1)
            )
            for wide, own in zip(above, widths, strict=True)
        )
        self.last = nn.Conv2d(widths[0], 3, 1)

    def forward(self, noise: Tensor) -> Tensor:
        maps, beside = noise, []
        for skip, down in zip(self.skips, self.downs, strict=True):
            beside.append(skip(maps))
            maps = down(maps)
        for up, own in zip(reversed(self.ups), reversed(beside), strict=True):
            maps = F.interpolate(maps, own.shape[-2:], mode="bilinear", align_corners=False)
            maps = up(torch.cat([maps, own], 1))
        return torch.sigmoid(self.last(maps))


def _layer(before: int, after: int, side: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, side, stride, side // 2, padding_mode="reflect"),
        nn.BatchNorm2d(after),
        nn.LeakyReLU(LEAK),
    )
