"""Inverse modules (Dong et al., DCI, Figure 10): a block of the target mirrored, shapes reversed.

- Map to equal or smaller map: as many convolutions, with upsampling where the block has a stride,
  and a shortcut where it has one. Branches that are added before any activation are one linear map,
  as RepVGG's are, and no shortcut: its two forms have the same inverse.
- Tokens that fill a square and come from a map are read as one.
- Bottleneck (1x1, 3x3, 1x1, also the widening kind): the three in reverse.
- Group of blocks: their inverses in reverse.
- Map to vector: the vector spread over the map, then convolutions.
- Channels-last grids (Swin) are turned into maps and back.
- Tokens to tokens: an encoder layer, as what mixed the tokens is to be undone.
- Vector to vector: linear layers with an activation between, and one around them.
- A linear layer without activation or pooling, batch norm or not: one from its output to its input.

What a block is fed is the output of the one before, mostly after a ReLU: there the inverse ends in
one too. The first block is fed an image; its inverse ends in a plain convolution, as large as the
one that reads the image where that overlaps (a ResNet's 7x7), else 3x3 as all others.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.inversion.dci.block_structure import (
    Inner,
    has_shortcut,
    inner_kernel,
    is_affine,
    reading_kernel,
)
from adversary.inversion.dci.chain import Block, Group
from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec
from splitlab.contracts.feature import layout_of

MOST_CONVOLUTIONS = 4
"""Of the mirrored path, where a block has more."""


class InverseBlock(nn.Module):
    """u_k [B, *made] -> an estimate of u_(k-1) [B, *given].

    Args:
        given, made: shapes of the target block's input and output.
        convolutions: how many the target block has along its main path; mirrored.
        shortcut: whether it has a connection around them.
        positive: whether its input is never below 0.
        image: whether its input is the image.
        inner: the kernel inside a bottleneck; None for any other block.
        affine: whether it is a linear layer and nothing else.
        last_kernel: side of the last convolution's, odd; where the input is an image.
    """

    def __init__(
        self,
        given: tuple[int, ...],
        made: tuple[int, ...],
        *,
        convolutions: int = 1,
        shortcut: bool = False,
        positive: bool = True,
        image: bool = False,
        inner: Inner | None = None,
        affine: bool = False,
        last_kernel: int = 3,
    ) -> None:
        super().__init__()
        self.given = given
        self.positive = positive and not image
        self.read, channels, side = _read(made)
        self.last = layout_of(given) == "grid" and not affine
        if len(given) == 3 and not affine:
            target = (given[2], given[0], given[1]) if self.last else given
            if inner is not None and not image and side != (1, 1):
                self.main = _bottleneck(target, channels, side, inner)
            else:
                self.main = _mirrored(
                    target, channels, side, convolutions, image, last_kernel if image else 3
                )
            self.around = _around(target, channels, side) if shortcut and not image else None
        elif len(given) == len(made) == 2 and given[0] == made[0]:
            self.read = nn.Identity()
            self.main = nn.Sequential(
                nn.Linear(made[1], given[1]), _mixing(given[1]), nn.Linear(given[1], given[1])
            )
            self.around = nn.Linear(made[1], given[1])
        elif len(given) == len(made) == 1 and not affine:
            wide = max(given[0], made[0])
            self.read = nn.Identity()
            self.main = nn.Sequential(
                nn.Linear(made[0], wide), nn.ReLU(), nn.Linear(wide, given[0])
            )
            self.around = nn.Linear(made[0], given[0])
        else:
            numbers = math.prod(made)
            self.read = nn.Flatten()
            self.main = nn.Sequential(
                nn.Linear(numbers, math.prod(given)), nn.Unflatten(1, torch.Size(given))
            )
            self.around = None

    def forward(self, feature: Tensor) -> Tensor:
        read = self.read(feature)
        found: Tensor = self.main(read)
        if self.around is not None:
            found = found + self.around(read)
        if self.last:
            found = found.permute(0, 2, 3, 1)
        return F.relu(found) if self.positive else found


def _read(made: tuple[int, ...]) -> tuple[nn.Module, int, tuple[int, int]]:
    """What turns an output into a map, the map's channels, and its sides."""
    read = FeatureMap(FeatureSpec(shape=made))
    channels, height, width = read.shape
    return read, channels, (height, width)


def _mirrored(
    given: tuple[int, ...],
    channels: int,
    side: tuple[int, int],
    convolutions: int,
    image: bool,
    last: int,
) -> nn.Sequential:
    """Upsampling in powers of two as early as the mirror has it, then what is left of the path."""
    target = given[0]
    if side == (1, 1) and given[1:] != (1, 1):
        return nn.Sequential(
            nn.Upsample(size=given[1:], mode="nearest"),
            *_unit(channels, channels),
            nn.Conv2d(channels, target, last, padding=last // 2),
        )
    doublings = max(0, round(math.log2(max(1.0, given[1] / side[0]))))
    layers: list[nn.Module] = []
    inner = max(min(convolutions, MOST_CONVOLUTIONS), 1 + doublings) - 1
    if (doublings or channels != target) and not inner:
        inner = 1  # so that what is lost in the stride or the narrower map has a layer of its own
    for number in range(inner):
        layers += _unit(channels, channels)
        if number < doublings:
            layers.append(_up(given, side, number, doublings))
    layers.append(nn.Conv2d(channels, target, last, padding=last // 2))
    if not image:
        layers.append(nn.BatchNorm2d(target))
    return nn.Sequential(*layers)


def _bottleneck(
    given: tuple[int, ...], channels: int, side: tuple[int, int], inner: Inner
) -> nn.Sequential:
    wide = inner.channels
    return nn.Sequential(
        *(nn.Conv2d(channels, wide, 1), nn.BatchNorm2d(wide), nn.ReLU()),
        *([nn.Upsample(size=given[1:], mode="nearest")] if side != given[1:] else []),
        nn.Conv2d(wide, wide, 3, padding=1, groups=inner.groups),
        *(nn.BatchNorm2d(wide), nn.ReLU()),
        *(nn.Conv2d(wide, given[0], 1), nn.BatchNorm2d(given[0])),
    )


def _mixing(width: int) -> nn.Module:
    heads = next(heads for heads in (8, 4, 2, 1) if width % heads == 0)
    return nn.TransformerEncoderLayer(
        width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
    )


def _up(given: tuple[int, ...], side: tuple[int, int], number: int, doublings: int) -> nn.Module:
    """The next upsampling; the last one meets the given sides, be they odd."""
    if number == doublings - 1:
        return nn.Upsample(size=given[1:], mode="nearest")
    times = 2 ** (number + 1)
    return nn.Upsample(size=(side[0] * times, side[1] * times), mode="nearest")


def _around(given: tuple[int, ...], channels: int, side: tuple[int, int]) -> nn.Module:
    if (channels, *side) == given:
        return nn.Identity()
    layers: list[nn.Module] = []
    if side != given[1:]:
        layers.append(nn.Upsample(size=given[1:], mode="nearest"))
    return nn.Sequential(*layers, nn.Conv2d(channels, given[0], 1), nn.BatchNorm2d(given[0]))


def _unit(given: int, made: int) -> list[nn.Module]:
    return [nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU()]


def inverse_of(block: Block, fed: Tensor, *, image: bool) -> nn.Module:
    """The inverse module of a block, from what it consists of; of a group its blocks' in reverse.

    Args:
        fed: some of its inputs [B, *given]; where none is below 0, the inverse gives none either.
        image: whether it is fed the image.
    """
    if isinstance(block.module, Group):
        inverses: list[nn.Module] = []
        with torch.no_grad():
            for inner in block.module.blocks:
                inverses.insert(0, inverse_of(inner, fed, image=False))
                fed = inner.module(fed)
        return nn.Sequential(*inverses)
    return mirror(
        block.module,
        block.given,
        block.made,
        positive=not image and float(fed.min()) >= 0,
        image=image,
    )


def mirror(
    module: nn.Module,
    given: tuple[int, ...],
    made: tuple[int, ...],
    *,
    positive: bool,
    image: bool,
) -> InverseBlock:
    """The inverse module of one block that is no group."""
    kernels = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    deep = sum(1 for m in kernels if m.kernel_size != (1, 1)) or len(kernels)
    return InverseBlock(
        given,
        made,
        convolutions=max(1, deep),
        shortcut=has_shortcut(module),
        positive=positive,
        image=image,
        inner=inner_kernel(kernels),
        affine=len(made) == 1 and is_affine(module),
        last_kernel=reading_kernel(kernels, given) if image else 3,
    )
