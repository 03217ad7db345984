"""Images of unknown colours from captured features alone: three principal components of a map.

A shallow head answers with many filters of three colour channels, so that its channels are nearly
a linear image of the colours of the neighbourhood, three numbers seen many times over.
"""

from __future__ import annotations

import torch
from torch import Tensor


def principal_images(maps: Tensor) -> Tensor:
    """The three strongest components of the standardised channels, white over all places.

    Args:
        maps: features [n, C, h, w] with C >= 3; channels that never change carry nothing.

    Returns:
        [n, 3, h, w] with mean 0 and covariance I: the images, if all is well, up to an affine map
        of their colours.
    """
    spread = maps.std((0, 2, 3), keepdim=True)
    live = (spread > 1e-6 * spread.max()).flatten()
    maps = (maps - maps.mean((0, 2, 3), keepdim=True))[:, live] / spread[:, live]
    values, vectors = torch.linalg.eigh(_covariance(maps))
    basis = vectors[:, -3:].flip(1) / values[-3:].flip(0).clamp_min(1e-12).sqrt()
    return torch.einsum("nchw,ck->nkhw", maps, basis)


class Whitening:
    """Mean and covariance of the colours of images, to and from white.

    Args:
        images: [n, 3, h, w].
    """

    def __init__(self, images: Tensor) -> None:
        self.mean = images.mean((0, 2, 3))
        values, vectors = torch.linalg.eigh(_covariance(images - self.mean.view(1, -1, 1, 1)))
        root = values.clamp_min(1e-8).sqrt()
        self.colour = vectors @ torch.diag(root) @ vectors.T
        self.white = vectors @ torch.diag(1 / root) @ vectors.T


def _covariance(maps: Tensor) -> Tensor:
    """[C, C] over all images and places of centred maps [n, C, h, w]."""
    rows = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1]).double()
    return (rows.T @ rows / len(rows)).float()
