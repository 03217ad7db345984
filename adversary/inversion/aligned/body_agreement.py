"""Do the bodies find a shadow's features like the captured ones? Two Frechet distances say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitlab.pieces import in_pieces

PIECE = 128
RIDGE = 0.1
"""Of the linear tail, for standardised answers."""


@torch.no_grad()
def answers(body: nn.Module, features: Tensor) -> Tensor:
    """[n, *feature_shape] -> [n, D]: what a body answers, averaged over the places of a map."""
    found = in_pieces(body, features, PIECE)
    return found.flatten(2).mean(2) if found.ndim > 2 else found


def frechet(first: Tensor, second: Tensor) -> float:
    """Squared Frechet distance between the normal distributions that fit [n, D] and [m, D] best.

    |mean1 - mean2|^2 + trace(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2); 0 for equal sets.
    """
    first, second = first.double(), second.double()
    apart = (first.mean(0) - second.mean(0)).square().sum()
    one, two = (torch.atleast_2d(torch.cov(rows.T)) for rows in (first, second))
    values, vectors = torch.linalg.eigh(one)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ two @ root).clamp_min(0).sqrt().sum()
    return float(apart + one.trace() + two.trace() - 2 * shared)


def answers_apart(captured: Sequence[Tensor], shadow: Sequence[Tensor]) -> float:
    """Mean over the bodies of the distance of their answers, in shares of the captured variance.

    Args:
        captured, shadow: answers of each body, [n, D] and [m, D] each.
    """
    pairs = list(zip(captured, shadow, strict=True))
    shares = [frechet(b, a) / float(a.var(0).sum().clamp_min(1e-12)) for a, b in pairs]
    return sum(shares) / len(shares)


def meanings_apart(
    captured: Sequence[Tensor],
    shadow: Sequence[Tensor],
    pictures: Tensor,
    images: Tensor,
    labels: Tensor,
) -> float:
    """Distance of (class scores, colours), both taken from one feature by two ways.

    Class scores come through the bodies and a linear shadow tail, which is solved for on the
    shadow's answers; colours come from the picture. For a wrong map of colours what the bodies
    recognise no longer goes with the colours that it should have.

    Args:
        captured, shadow: answers of each body, [n, D] and [m, D] each.
        pictures: [n, 3, h, w], of the captured features.
        images: [m, 3, h, w], of the shadow's.
        labels: int64 [m], of `images`.
    """
    seen, known = torch.cat(list(captured), 1), torch.cat(list(shadow), 1)
    mean, spread = known.mean(0), known.std(0) + 1e-3
    rows = _with_one((known - mean) / spread)
    wanted = F.one_hot(labels, int(labels.max()) + 1).to(rows)
    ridge = RIDGE * len(rows) * torch.eye(rows.shape[1]).to(rows)
    tail = torch.linalg.solve(rows.T @ rows + ridge, rows.T @ wanted)
    scores, guesses = rows @ tail, _with_one((seen - mean) / spread) @ tail
    own, theirs = colours_of(images), colours_of(pictures)
    unit, tint = scores.std(0) + 1e-6, own.std(0) + 1e-6
    return frechet(
        torch.cat([guesses / unit, theirs / tint], 1), torch.cat([scores / unit, own / tint], 1)
    )


def colours_of(images: Tensor) -> Tensor:
    """[n, 15]: mean colours of the four quarters, and how much each channel varies."""
    quarters = F.adaptive_avg_pool2d(images, 2).flatten(1)
    return torch.cat([quarters, images.flatten(2).std(2)], 1)


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, rows.new_ones(len(rows), 1)], 1)
