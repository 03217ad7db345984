"""A small U-Net that predicts the noise in an image (Ho et al. 2020, arXiv:2006.11239, Appendix B):
residual blocks with group normalisation, the time added in each, skips between equal sizes.

The published one has attention and 35.7 M parameters at 32 pixels; this one has none, and 1 M.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitlab.errors import BadInput

GROUPS = 8
SHRINKS = 4
"""By how much the deepest maps are smaller than the image: its side is a multiple."""


def time_features(times: Tensor, count: int) -> Tensor:
    """Sines and cosines of the times at `count` / 2 frequencies: [B] -> [B, count].

    As in transformers; the times are 0 to about 1,000.
    """
    half = count // 2
    rates = torch.exp(-math.log(10_000) / half * torch.arange(half, device=times.device))
    angles = times.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class TimedBlock(nn.Module):
    """Residual block that is told the time; [B, before, H, W] -> [B, after, H, W]."""

    def __init__(self, before: int, after: int, timed: int) -> None:
        super().__init__()
        self.n1, self.n2 = nn.GroupNorm(GROUPS, before), nn.GroupNorm(GROUPS, after)
        self.c1 = nn.Conv2d(before, after, 3, padding=1)
        self.c2 = nn.Conv2d(after, after, 3, padding=1)
        self.time = nn.Linear(timed, after)
        self.short = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.c2.weight)  # begins as its shortcut
        nn.init.zeros_(self.c2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.c1(F.silu(self.n1(x))) + self.time(time)[:, :, None, None]
        return self.c2(F.silu(self.n2(h))) + self.short(x)


class DenoisingUNet(nn.Module):
    """(x_t [B, 3, S, S], t int64 [B]) -> epsilon [B, 3, S, S]; S a multiple of 4.

    Args:
        width: channels at full size, a multiple of 8; twice and three times as many below.

    Raises:
        BadInput: a width that cannot be grouped.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        if width < GROUPS or width % GROUPS:
            raise BadInput(f"width={width}: a denoiser takes a multiple of {GROUPS}")
        self.width, timed = width, 4 * width
        one, two, three = width, 2 * width, 3 * width
        self.time = nn.Sequential(nn.Linear(width, timed), nn.SiLU(), nn.Linear(timed, timed))
        self.first = nn.Conv2d(3, one, 3, padding=1)
        self.down1, self.down2 = TimedBlock(one, one, timed), TimedBlock(two, two, timed)
        self.half1 = nn.Conv2d(one, two, 3, 2, 1)
        self.half2 = nn.Conv2d(two, three, 3, 2, 1)
        self.middle1, self.middle2, self.middle3 = (
            TimedBlock(three, three, timed) for _ in range(3)
        )
        self.wide2, self.wide1 = nn.Conv2d(three, two, 1), nn.Conv2d(two, one, 1)
        self.up2, self.up1 = TimedBlock(2 * two, two, timed), TimedBlock(2 * one, one, timed)
        self.norm, self.last = nn.GroupNorm(GROUPS, one), nn.Conv2d(one, 3, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        time = F.silu(self.time(time_features(times, self.width)))
        whole = self.down1(self.first(x), time)
        half = self.down2(self.half1(whole), time)
        deep = self.half2(half)
        for block in (self.middle1, self.middle2, self.middle3):
            deep = block(deep, time)
        up = self.up2(torch.cat([_larger(self.wide2(deep)), half], 1), time)
        up = self.up1(torch.cat([_larger(self.wide1(up)), whole], 1), time)
        return self.last(F.silu(self.norm(up)))


def _larger(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
