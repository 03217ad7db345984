"""Captured text features as symbols: equal words are equal vectors once the position is taken off.

Observation behind it: an embedding layer maps a finite vocabulary to finitely many vectors, and
positions are public. Noise widens the points to clouds, which stay apart as long as they are
smaller than the distance between two words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from splitlab.errors import BadInput

SAMPLE = 2_000
"""Vectors whose pairwise distances show how large a cloud is."""
BINS = 400
SMOOTH = 9
"""Bins of the histogram of log-distances, and how many of them are averaged."""
DEEPEST = 0.25
"""Height of the valley between the two peaks, as a share of the lower peak, for words to be told
from noise."""
ROUNDING = 1e-4
"""Distance of equal vectors at most, as a share of their length, where there is no noise."""
BLOCK = 512
POLISH = 5
"""Rounds in which vectors go to their nearest centre and centres to their vectors' mean."""
REMEDY = "the captured vectors do not show which are equal; this attack needs less noise"


@dataclass(frozen=True, eq=False)
class Symbols:
    """What clustering found.

    Args:
        ids: int64 [B, T], the symbol at each place of each sentence.
        centres: float [K, D], the mean of each symbol's vectors, position taken off.
        radius: distance up to which two vectors were taken for the same word.
    """

    ids: Tensor
    centres: Tensor
    radius: float


def find_symbols(features: Tensor, places: Tensor, words: int) -> Symbols:
    """Clouds of vectors, the densest first, until none is left.

    Args:
        features: z^ [B, T, D], decoded from the wire.
        places: public positions [T, D].
        words: size of the vocabulary; there cannot be more symbols. Beyond it, stray vectors go
            to the nearest cloud.

    Raises:
        BadInput: noise hides which vectors are equal.
    """
    length, width = features.shape[1:]
    vectors = (features - places).reshape(-1, width)
    step = ROUNDING * float(vectors.norm(dim=1).mean()) or 1.0
    # equal vectors are equal up to rounding: count them once
    points, weights = torch.unique((vectors / step).round(), dim=0, return_counts=True)
    points = points * step
    radius = _radius(points, step, len(points) <= words)
    centres = _centres(points, weights, radius, words)
    for _ in range(POLISH):
        owner = _nearest(points, centres)
        sums = torch.zeros_like(centres).index_add_(0, owner, points * weights[:, None])
        sizes = torch.zeros(len(centres)).index_add_(0, owner, weights.float())
        kept = sizes > 0
        centres = sums[kept] / sizes[kept, None]
    return Symbols(_nearest(vectors, centres).view(-1, length), centres, radius)


def _centres(points: Tensor, weights: Tensor, radius: float, words: int) -> Tensor:
    """Of the points that are left, again and again the one with most others about it, averaged."""
    left = torch.ones(len(points), dtype=torch.bool)
    crowds = _about(points, points, weights.float(), radius)
    found: list[Tensor] = []
    while bool(left.any()) and len(found) < words:
        best = int(torch.where(left, crowds, -1.0).argmax())
        members = (torch.cdist(points[best : best + 1], points)[0] < radius) & left
        members[best] = True
        share = weights[members].float()
        found.append((points[members] * share[:, None]).sum(0) / share.sum())
        left &= ~members
        crowds -= _about(points, points[members], share, radius)
    return torch.stack(found)


def _about(points: Tensor, others: Tensor, weights: Tensor, radius: float) -> Tensor:
    """How much weight of `others` [m, D] is nearer than `radius` to each point: [n]."""
    parts = points.split(BLOCK)
    return torch.cat([(torch.cdist(part, others) < radius).float() @ weights for part in parts])


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.cat([torch.cdist(part, centres).argmin(1) for part in points.split(BLOCK)])


def _radius(points: Tensor, rounding: float, few: bool) -> float:
    """The valley between distances of equal and of different words.

    Args:
        points: different vectors [n, D].
        few: there are no more of them than words, so that each may be a word of its own.
    """
    sample = points[torch.linspace(0, len(points) - 1, min(len(points), SAMPLE)).long()]
    distances = torch.pdist(sample)
    least = 4 * rounding * math.sqrt(points.shape[1])
    if few or len(distances) == 0:
        return least
    logs = distances.clamp_min(least).log()
    low, high = float(logs.min()), float(logs.max())
    if high - low < 1e-3:
        raise BadInput(f"all distances are alike; {REMEDY}")
    raw = torch.histc(logs.double(), BINS, low, high)
    heights = torch.nn.functional.avg_pool1d(
        raw[None, None], SMOOTH, 1, SMOOTH // 2, count_include_pad=False
    )[0, 0]
    first = _between(heights)
    left, right = int(heights[:first].argmax()), first + int(heights[first:].argmax())
    valley = heights[left : right + 1]
    if float(valley.min()) > DEEPEST * min(float(heights[left]), float(heights[right])):
        raise BadInput(f"no distance parts words from noise; {REMEDY}")
    lowest = (valley == valley.min()).nonzero()[:, 0]
    at = left + float(lowest[len(lowest) // 2]) + 0.5
    return math.exp(low + (high - low) * at / BINS)


def _between(heights: Tensor) -> int:
    """The bin that best parts a histogram in two (Otsu 1979)."""
    place = torch.arange(len(heights), dtype=heights.dtype)
    below, total = heights.cumsum(0), heights.sum()
    moment = (heights * place).cumsum(0)
    above = total - below
    means = moment / below.clamp_min(1e-9), (moment[-1] - moment) / above.clamp_min(1e-9)
    spread = below * above * (means[0] - means[1]).square()
    return min(max(int(spread.argmax()) + 1, 1), len(heights) - 1)
