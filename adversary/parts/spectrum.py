"""What images differ by from a guess: how strongly, at each spatial frequency and colour.

Descent on plain pixels takes all of them for equally likely to be wrong. They are not: in natural
images, and in what an inverse network gets wrong, low frequencies and brightness vary a hundred
times as much as fine detail and colour. In coordinates in which every frequency and colour varies
alike, a descent of the same length goes far deeper, and the squared length of the coordinates is
the likelihood of the image: a Gaussian prior, as in MAP estimation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 1.2
"""Amplitudes of natural images fall with this power of the frequency (Tolhurst, Tadmor and Chao
1992, "Amplitude spectra of natural images"; their mean over 135 photographs)."""
NATURAL = 0.25
"""Deviation of a natural image's pixels from the mean colour, in [0, 1]."""
COLOURS = (1.0, 0.3, 0.1)
"""Deviations of brightness, of red against blue, and of green against both; the lab's."""
LEAST = 1e-4
"""No deviation is taken for smaller than this share of the largest."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Coordinates u [B, 3, S, S] of a difference of images, each with deviation 1.

    Args:
        axes: float [3, 3], colour axes as columns, orthonormal.
        deviations: float [3, S, S], of each axis at each frequency of the cosine transform.
    """

    axes: Tensor
    deviations: Tensor

    def difference(self, coordinates: Tensor) -> Tensor:
        """u [B, 3, S, S] -> difference of pixels, [B, 3, S, S]."""
        basis = cosines(self.deviations.shape[-1]).to(coordinates)
        apart = basis.T @ (coordinates * self.deviations) @ basis
        return torch.einsum("dc,bchw->bdhw", self.axes, apart)

    def to(self, place: Tensor) -> Spectrum:
        """On the device and in the type of a tensor."""
        return Spectrum(self.axes.to(place), self.deviations.to(place))


@cache
def cosines(size: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II), float [size, size], a frequency a row.

    One tensor for all that ask; nobody writes into it.
    """
    at = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi * (at[None] + 0.5) * at[:, None] / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.float()


def learned_spectrum(differences: Tensor) -> Spectrum:
    """The spectrum of differences [n, 3, S, S], n at least 1, of images and guesses at them.

    Frequencies are smoothed with their neighbours, as there are more of them than images.
    """
    rows = differences.float()
    covariance = torch.einsum("bchw,bdhw->cd", rows, rows) / rows[:, 0].numel()
    axes = torch.linalg.eigh(covariance.double())[1].to(rows)
    basis = cosines(rows.shape[-1]).to(rows)
    power = (basis @ torch.einsum("dc,bdhw->bchw", axes, rows) @ basis.T).square().mean(0)
    smooth = F.avg_pool2d(F.pad(power[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
    return Spectrum(axes, _bounded(smooth.sqrt()))


def natural_spectrum(size: int) -> Spectrum:
    """That of natural images about their mean colour, where there are no images to learn it from.

    Args:
        size: of images, in pixels a side.
    """
    axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])
    axes = (axes / axes.norm(dim=1, keepdim=True)).T
    at = torch.arange(size, dtype=torch.float32)
    falling = (1 + (at[:, None].square() + at.square()).sqrt()) ** -SLOPE
    own = torch.tensor(COLOURS)
    found = falling * own[:, None, None]
    # The squared deviations add up to those of the pixels, of which an image has 3 S^2.
    scale = NATURAL * math.sqrt(3) * size / float(found.square().sum().sqrt())
    return Spectrum(axes, _bounded(found * scale))


def _bounded(deviations: Tensor) -> Tensor:
    return deviations.clamp_min(max(LEAST * float(deviations.max()), 1e-12))
