"""Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019), as timm's `Mixup` in mode "batch"."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Mixed(NamedTuple):
    """What was mixed into a batch.

    Args:
        partners: int64 [B], labels of the images that were mixed in.
        share: of each image that is its own, in [0, 1].
    """

    partners: Tensor
    share: float

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Labels int64 [B] -> shares of each class [B, classes], which add up to 1."""
        own, other = (F.one_hot(one, classes).float() for one in (labels, self.partners))
        return self.share * own + (1 - self.share) * other


@dataclass(frozen=True)
class Mix:
    """Every batch is mixed with itself in reverse order, by one share for all of its images.

    Args:
        mixup: alpha of Beta(alpha, alpha), from which the share of a blend is drawn; 0 for none.
        cutmix: the same for a box that is pasted. Where both are above 0 a coin decides.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __call__(
        self, images: Tensor, labels: Tensor, rng: torch.Generator | None = None
    ) -> tuple[Tensor, Mixed]:
        """Float [B, C, H, W] and int64 [B] -> a new tensor, and what is in it."""
        source = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        cut = self.cutmix > 0 and (self.mixup == 0 or source.random() < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(source.beta(alpha, alpha))
        others = images.flip(0)
        if not cut:
            return share * images + (1 - share) * others, Mixed(labels.flip(0), share)
        height, width = images.shape[-2:]
        top, bottom, left, right = box(height, width, share, source)
        images = images.clone()
        images[..., top:bottom, left:right] = others[..., top:bottom, left:right]
        area = (bottom - top) * (right - left)
        own = 1 - area / (height * width)
        return images, Mixed(labels.flip(0), own)


def box(
    height: int, width: int, share: float, source: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a box of 1 - `share` of the area, around any pixel.

    What of it lies outside the image is cut off, so that it may be smaller.
    """
    side = math.sqrt(1 - share)
    found = []
    for length in (height, width):
        half = int(length * side) // 2
        centre = int(source.integers(length))
        found += [max(0, centre - half), min(length, centre + half)]
    return found[0], found[1], found[2], found[3]
