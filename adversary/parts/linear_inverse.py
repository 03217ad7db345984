"""The best local linear inverse of a head, in closed form (ridge regression).

Each pixel block of the image is predicted from the feature at its place and the eight around it.
For a linear head with an exact inverse this is that inverse; for any other it is where an inverse
network starts, worth more than its first epochs of gradient descent.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0, 10.0)
"""Candidates, relative to features of unit variance; chosen on held-out places."""

PIECE = 128
"""Images whose places are drawn at once."""


class Linear(NamedTuple):
    """A convolution: weight [outputs, C, side, side], bias [outputs]; and how well it does.

    `error` is the mean squared error on places that were held out of the regression.
    """

    weight: Tensor
    bias: Tensor
    error: float


def linear_inverse(
    maps: Tensor, blocks: Tensor, side: int, places: int, rng: torch.Generator
) -> Linear:
    """Least squares from a side x side neighbourhood of `maps` to `blocks`.

    Args:
        maps: float [N, C, h, w], standardised.
        blocks: float [N, outputs, h, w], what to predict at each place.
        side: 1 or 3.
        places: at most so many places enter the regression, a tenth of them only to choose by.
        rng: CPU generator that picks the places.
    """
    rows, targets = _sample(maps, blocks, side, places, rng)
    held = max(1, len(rows) // 10)
    mean, target_mean = rows[held:].mean(0), targets[held:].mean(0)
    centred, centred_targets = rows[held:] - mean, targets[held:] - target_mean
    gram = (centred.T @ centred).double() / len(centred)
    cross = (centred.T @ centred_targets).double() / len(centred)
    values, vectors = torch.linalg.eigh(gram)
    turned = vectors.T @ cross
    best: Linear | None = None
    for ridge in RIDGES:
        weight = (vectors @ (turned / (values.clamp_min(0) + ridge)[:, None])).float()
        bias = target_mean - mean @ weight
        error = float((rows[:held] @ weight + bias - targets[:held]).square().mean())
        if best is None or error < best.error:
            best = Linear(weight.T.reshape(-1, maps.shape[1], side, side), bias, error)
    assert best is not None
    return best


def _sample(
    maps: Tensor, blocks: Tensor, side: int, places: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Neighbourhoods [P, C * side^2] and targets [P, outputs], the images in random order."""
    count, area = len(maps), maps.shape[2] * maps.shape[3]
    each = min(area, max(1, places // count))
    rows: list[Tensor] = []
    targets: list[Tensor] = []
    for piece in torch.randperm(count, generator=rng)[: max(1, places // each)].split(PIECE):
        picked = torch.rand(len(piece), area, generator=rng).argsort(1)[:, :each].to(maps.device)
        piece = piece.to(maps.device)
        rows.append(_around(maps[piece], picked, side))
        targets.append(_taken(blocks[piece].flatten(2), picked).flatten(0, 1))
    return torch.cat(rows), torch.cat(targets)


def _around(maps: Tensor, picked: Tensor, side: int) -> Tensor:
    """What `F.unfold` gives at the places `picked` [n, P] of `maps` [n, C, h, w], without the rest.

    Returns [n * P, C * side^2], zeros beyond the edge.
    """
    width, reach = maps.shape[3], side // 2
    padded = F.pad(maps, (reach, reach, reach, reach))
    corner = picked // width * padded.shape[3] + picked % width
    steps = [y * padded.shape[3] + x for y in range(side) for x in range(side)]
    found = [_taken(padded.flatten(2), corner + step) for step in steps]
    return torch.stack(found, 3).flatten(2).flatten(0, 1)


def _taken(values: Tensor, picked: Tensor) -> Tensor:
    """Columns `picked` [n, P] of values [n, C, area] -> [n, P, C]."""
    return values.gather(2, picked[:, None].expand(-1, values.shape[1], -1)).transpose(1, 2)
