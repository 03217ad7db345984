"""Images whose channels can be told apart, as in nature, and what a linear head makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from worlds import images

from adversary.contract.threat import AuxImages
from adversary.inversion.aligned.attack import AlignedShadow
from adversary.inversion.aligned.colour_map import ColourMap
from adversary.inversion.aligned.principal_images import principal_images
from splitlab.data import ImageSet


def tinted(count: int, seed: int) -> ImageSet:
    """Red is mostly dark with bright spots, green fades from top to bottom, blue is plain.

    The class says whether red or blue is above what it mostly is.
    """
    plain = images(count, seed)
    red, green, blue = plain.floats().unbind(1)
    fade = torch.linspace(0.2, -0.2, green.shape[-1]).view(1, -1, 1)
    pixels = torch.stack([red**3, (0.5 * green + 0.25 + fade), 0.3 + 0.6 * blue], 1)
    spots, plainness = pixels[:, 0].mean((1, 2)), pixels[:, 2].mean((1, 2))
    return replace(
        plain,
        images=pixels.clamp(0, 1).mul(255).byte(),
        labels=(spots > 0.2).long() + 2 * (plainness > 0.6).long(),
        classes=("neither", "red", "blue", "both"),
    )


AUX = AuxImages(tinted(240, 1), tinted(40, 2), "same distribution")
VICTIMS = tinted(64, 3)


def orthogonal(channels: int = 8) -> Tensor:
    """[channels, 3] with orthonormal columns: a 1x1 head without a ReLU."""
    random = torch.randn(channels, 3, generator=torch.Generator().manual_seed(6))
    return torch.linalg.qr(random).Q


def mixed(pixels: Tensor) -> Tensor:
    """[n, 3, h, w] -> [n, 8, h, w], what that head answers, with a bias."""
    return torch.einsum("cj,njhw->nchw", orthogonal(), pixels) + 0.3


def rows(maps: Tensor) -> Tensor:
    """[n, C, h, w] -> [n h w, C]."""
    return maps.movedim(1, -1).flatten(0, 2)


def true_map(white: Tensor, pixels: Tensor) -> tuple[ColourMap, float]:
    """The colours of the white images by least squares, and the largest error that is left."""
    known = torch.cat([rows(white), torch.ones(len(rows(white)), 1)], 1).double()
    found = torch.linalg.lstsq(known, rows(pixels).double()).solution
    left = float((known @ found - rows(pixels)).abs().max())
    return ColourMap(found[:3].T.float(), found[3].float()), left


class Knowing(nn.Module):
    """A critic that knows how the victims' colours are distributed: three moments a channel."""

    def forward(self, images: Tensor) -> Tensor:
        seen, true = rows(images), rows(VICTIMS.floats())
        apart = [(seen**p).mean(0) - (true**p).mean(0) for p in (1, 2, 3)]
        return torch.cat(apart).square().sum().view(1)


def whitened(images: ImageSet = VICTIMS) -> Tensor:
    """Principal images of what the orthogonal head answers."""
    return principal_images(mixed(images.floats()))


def quick(**options: Any) -> AlignedShadow:
    """Small and short, unless told otherwise."""
    return AlignedShadow.configured(
        {
            "critic_epochs": 1,
            "tried": 10,
            "kept": 2,
            "refine_steps": 3,
            "compared": 60,
            "started": 4,
            "searches": 1,
            "heads": 1,
            "aligned": 2,
            "align_steps": 6,
            "head_epochs": 2,
            "picture_epochs": 2,
            "decoder_epochs": 1,
            **options,
        }
    )
