"""Captured text features as symbols: equal words are equal vectors once the position is taken off.

Observation behind it: an embedding layer maps a finite vocabulary to finitely many vectors, and
positions are public. Noise widens the points to clouds, which stay apart as long as they are
smaller than the distance between two words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from splitlab.errors import BadInput

LEAST_GAP = 0.05
"""Logarithm of the ratio of two distances with none between them, for clouds to count as apart."""
SAMPLE = 3_000
"""Rows whose pairwise distances show the gap."""
BLOCK = 512
REMEDY = "the captured vectors do not show which are equal; this attack needs less noise"


@dataclass(frozen=True, eq=False)
class Symbols:
    """What clustering found.

    Args:
        ids: int64 [B, T], the symbol at each place of each sentence.
        centres: float [K, D], the mean of each symbol's vectors, position taken off.
        gap: logarithm of the ratio of the distances on both sides of the threshold.
    """

    ids: Tensor
    centres: Tensor
    gap: float


def find_symbols(features: Tensor, places: Tensor, words: int) -> Symbols:
    """Connected clouds of vectors; two are connected where they are nearer than the widest gap.

    Args:
        features: z^ [B, T, D], decoded from the wire.
        places: public positions [T, D].
        words: size of the vocabulary; there cannot be more symbols.

    Raises:
        BadInput: clouds cannot be told apart: no gap between distances, or too many clouds.
    """
    length, width = features.shape[1:]
    exact = (features - places).reshape(-1, width).double()
    points = torch.unique(exact.round(decimals=4), dim=0)
    threshold, gap = _threshold(points[_spread(len(points), SAMPLE)], len(points) <= words)
    first, second = _near(points, threshold)
    graph = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(points),) * 2)
    kinds, labels = connected_components(graph, directed=False)
    if kinds > words:
        raise BadInput(f"{kinds} clouds for {words} words; {REMEDY}")
    centres = torch.zeros(kinds, width, dtype=torch.float64)
    owner = torch.from_numpy(labels).long()
    centres.index_add_(0, owner, points)
    centres /= torch.bincount(owner, minlength=kinds)[:, None]
    nearest = torch.cat([torch.cdist(part, centres).argmin(1) for part in exact.split(BLOCK)])
    return Symbols(nearest.view(-1, length), centres.float(), gap)


def _spread(total: int, wanted: int) -> Tensor:
    return torch.linspace(0, total - 1, min(total, wanted)).long()


def _threshold(points: Tensor, few: bool) -> tuple[float, float]:
    """The middle of the widest empty interval of log-distances, and its width.

    Args:
        points: different vectors [n, D].
        few: there are no more of them than words, so that each may be a word of its own. Only
            distances that rounding explains (a thousandth of the median) are then no distances.
    """
    distances = torch.pdist(points).sort().values
    floor = 1e-3 * float(distances[len(distances) // 2]) if few and len(distances) else 0.0
    logs = distances[: max(1, int(0.95 * len(distances)))].clamp_min(floor).log()
    if few:
        logs = torch.cat([torch.full((1,), floor, dtype=logs.dtype).log(), logs])
    widths = logs.diff()
    if len(widths) == 0 or float(widths.max()) < LEAST_GAP:
        raise BadInput(f"no distance parts words from noise; {REMEDY}")
    at = int(widths.argmax())
    return math.exp(float(logs[at] + widths[at] / 2)), float(widths[at])


def _near(points: Tensor, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of every pair nearer than `threshold`."""
    rows, columns = [], []
    for start in range(0, len(points), BLOCK):
        found = (torch.cdist(points[start : start + BLOCK], points) < threshold).nonzero()
        rows.append(found[:, 0] + start)
        columns.append(found[:, 1])
    return torch.cat(rows).numpy(), torch.cat(columns).numpy()
