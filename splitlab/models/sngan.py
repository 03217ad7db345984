"""SNGAN (Miyato et al. 2018, arXiv:1802.05957) with residual blocks: generators of 32 to 128 pixels
and their discriminators. DCI (Dong et al.) inverts the one of 128.

Layers are those of kwotsin/mimicry, and so are the generators' key names: checkpoints load.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from splitlab.errors import BadInput

SNGAN_LATENTS = 128
SIZES = (32, 64, 128)


class GBlock(nn.Module):
    """Residual block of a generator; doubles the side where it upsamples."""

    def __init__(self, before: int, after: int, *, upsample: bool = True) -> None:
        super().__init__()
        self.upsample = upsample
        self.b1, self.b2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.c1 = nn.Conv2d(before, after, 3, padding=1)
        self.c2 = nn.Conv2d(after, after, 3, padding=1)
        self.c_sc = nn.Conv2d(before, after, 1) if upsample or before != after else None
        _start(self.c1, self.c2, self.c_sc)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, after, 2H, 2W]."""
        h = self.c1(self._up(F.relu(self.b1(x))))
        h = self.c2(F.relu(self.b2(h)))
        return h + (x if self.c_sc is None else self.c_sc(self._up(x)))

    def _up(self, x: Tensor) -> Tensor:
        if not self.upsample:
            return x
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class SNGANGenerator(nn.Module):
    """z [B, 128] -> images [B, 3, S, S] in [-1, 1].

    Args:
        size: side S: 128 has the paper's five blocks, 64 four and 32 three.
        width: channels behind the linear layer (mimicry's ngf; 1024 at 128 and 64, 256 at 32).

    Raises:
        BadInput: another size, or a width that cannot be halved so often.
    """

    def __init__(self, size: int = 128, width: int = 1024) -> None:
        super().__init__()
        if size not in SIZES:
            raise BadInput(f"size={size}: SNGAN generators are for {', '.join(map(str, SIZES))}")
        widths = generator_widths(size, width)
        self.size, self.width = size, width
        self.l1 = nn.Linear(SNGAN_LATENTS, 16 * width)
        nn.init.xavier_uniform_(self.l1.weight)
        self.blocks = [f"block{number}" for number in range(2, 1 + len(widths))]
        for name, before, after in zip(self.blocks, widths, widths[1:], strict=False):
            self.add_module(name, GBlock(before, after))
        last = len(widths) + 1
        self.ends = (f"b{last}", f"c{last}")
        self.add_module(self.ends[0], nn.BatchNorm2d(widths[-1]))
        final = nn.Conv2d(widths[-1], 3, 3, padding=1)
        nn.init.xavier_uniform_(final.weight)
        self.add_module(self.ends[1], final)

    def parts(self) -> list[nn.Module]:
        """The chain that is the generator: linear layer, blocks, and the last convolution."""
        norm, final = (self.get_submodule(name) for name in self.ends)
        first = nn.Sequential(self.l1, nn.Unflatten(1, (self.width, 4, 4)))
        blocks = [self.get_submodule(name) for name in self.blocks]
        return [first, *blocks, nn.Sequential(norm, nn.ReLU(), final, nn.Tanh())]

    def forward(self, z: Tensor) -> Tensor:
        for part in self.parts():
            z = part(z)
        return z


def generator_widths(size: int, width: int) -> list[int]:
    """Channels behind the linear layer and behind each block.

    Raises:
        BadInput: a width that cannot be halved so often.
    """
    if size == 32:
        return [width] * 4
    if width < 16 or width % 16:
        raise BadInput(f"width={width}: wanted a multiple of 16")
    halved = [width >> number for number in range(5)]
    return [width, *halved] if size == 128 else halved


class DBlock(nn.Module):
    """Residual block of a discriminator, under spectral norm; halves the side where asked."""

    def __init__(self, before: int, after: int, *, down: bool, first: bool = False) -> None:
        super().__init__()
        self.down, self.first = down, first
        hidden = after if first else before
        self.c1 = _bounded(nn.Conv2d(before, hidden, 3, padding=1))
        self.c2 = _bounded(nn.Conv2d(hidden, after, 3, padding=1))
        learned = first or down or before != after
        self.c_sc = _bounded(nn.Conv2d(before, after, 1), gain=1.0) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.c1(x if self.first else F.relu(x))
        h = self.c2(F.relu(h))
        if self.down:
            h = F.avg_pool2d(h, 2)
        if self.c_sc is None:
            return h + x
        if self.first:
            return h + self.c_sc(F.avg_pool2d(x, 2) if self.down else x)
        beside = self.c_sc(x)
        return h + (F.avg_pool2d(beside, 2) if self.down else beside)


class SNGANDiscriminator(nn.Module):
    """Images [B, 3, S, S] in [-1, 1] -> scores [B].

    Args:
        size, width: as of the generator; at 32 pixels mimicry has 128 channels here.
    """

    def __init__(self, size: int = 128, width: int = 1024) -> None:
        super().__init__()
        if size == 32:
            plan = [(width, True), (width, True), (width, False), (width, False)]
        else:
            plan = [(after, True) for after in reversed(generator_widths(64, width))]
            plan += [(width, False)] if size == 128 else []
        layers: list[nn.Module] = []
        before = 3
        for number, (after, down) in enumerate(plan):
            layers.append(DBlock(before, after, down=down, first=number == 0))
            before = after
        self.layers = nn.Sequential(*layers)
        self.judge = _bounded(nn.Linear(before, 1), gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.judge(F.relu(self.layers(x)).sum((2, 3)))[:, 0]
        return scores


def _start(first: nn.Conv2d, second: nn.Conv2d, beside: nn.Conv2d | None) -> None:
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight, math.sqrt(2.0))
    if beside is not None:
        nn.init.xavier_uniform_(beside.weight, 1.0)


def _bounded(layer: nn.Module, gain: float = math.sqrt(2.0)) -> nn.Module:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    nn.init.xavier_uniform_(weight, gain)
    with torch.no_grad():
        bounded: nn.Module = spectral_norm(layer)
    return bounded
