"""Everything that happens to a batch of images before a classifier sees it, on the device."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from splitlab.training.augment.colour import Jitter
from splitlab.training.augment.mix import Mix
from splitlab.training.augment.place import cropped, shifted


@dataclass(frozen=True, repr=False)
class Augment:
    """Shift and flip, then crop, then colours, then mixing with another image.

    Draws come from a CPU generator, whatever the images' device, so that they do not depend on it.

    Args:
        shift: largest shift in pixels, less than the images' side; borders are mirrored. It is the
            usual "pad, then crop at random".
        flip: whether half of the images are mirrored left to right.
        crop: smallest share of the area that a square crop keeps, in (0, 1]; it is resized to the
            whole. 1 crops nothing.
        jitter: of the colours.
        mix: of two images and their labels.
    """

    shift: int = 4
    flip: bool = True
    crop: float = 1.0
    jitter: Jitter | None = None
    mix: Mix | None = None

    def __repr__(self) -> str:
        """Shift and flip, and what is not at its default: unfinished runs are bound to this."""
        told = [f for f in dataclasses.fields(self) if f.name in ("shift", "flip")]
        told += [f for f in dataclasses.fields(self)[2:] if getattr(self, f.name) != f.default]
        return f"Augment({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in told)})"

    def __call__(self, images: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Shift and flip: images [B, C, S, S] of any dtype -> the same shape and dtype, new."""
        return shifted(images, self.shift, self.flip, rng)

    def coloured(self, images: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Crop and colours: float [B, C, S, S] in [0, 1] -> the same."""
        if self.crop < 1:
            images = cropped(images, self.crop, rng)
        return images if self.jitter is None else self.jitter(images, rng)
