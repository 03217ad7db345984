"""Read fixed additive tensors off the captured features of a head that ends in a ReLU.

A ReLU answers exactly 0 for a share of the images, so what is added to it is, at each place, the
smallest value that ever crosses the wire, and it crosses again and again. Where the client has
several tensors and takes one a request (Shredder), captures under one tensor share smallest values
with each other and with no capture under another, which sorts them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

SHARED, ALIKE = 2e-3, 4
"""Share of all elements on whose smallest value two captures under one tensor meet, and how many
elements that must be: on a small map two captures may meet on a few by chance."""
MOST = 16
"""More tensors than this are no collection: the captures are merely unlike each other."""


@dataclass(frozen=True, eq=False)
class FixedNoise:
    """What was read.

    Args:
        tensors: [K, *feature_shape], the commonest first; 0 where it could not be told.
        share: of the elements where it could, over all captures, in [0, 1].
        tolerance: how near to a tensor counts as on it, in units of the feature.
    """

    tensors: Tensor
    share: float
    tolerance: float

    def owners(self, features: Tensor) -> Tensor:
        """int64 [n]: which tensor is under each capture, the one that most elements sit on."""
        if len(self.tensors) == 1:
            return torch.zeros(len(features), dtype=torch.int64, device=features.device)
        sits = [
            ((features - one).abs() <= self.tolerance).flatten(1).float().mean(1)
            for one in self.tensors.to(features.device)
        ]
        return torch.stack(sits, 1).argmax(1)

    def remove(self, features: Tensor) -> Tensor:
        """Captured features [n, *feature_shape] without what was read."""
        return features - self.tensors.to(features.device)[self.owners(features)]

    def add(self, features: Tensor) -> Tensor:
        """Shadow features as they would cross under the commonest tensor."""
        return features + self.tensors[0].to(features.device)


def fixed_noise(features: Tensor, tolerance: float = 1e-3, repeats: int = 3) -> FixedNoise:
    """The smallest value of each element, where at least `repeats` captures sit on it.

    Args:
        features: captured, [n, *feature_shape].
        tolerance: how near to the smallest value counts as on it, in standard deviations of all
            features; wide enough for a wire of 16 bits.
        repeats: captures that must agree; below it the element is taken as free of noise.
    """
    width = tolerance * float(features.std())
    groups = _groups(features, width)
    found, shares = [], []
    for rows in groups:
        own = features[rows]
        lowest = own.amin(0)
        known = ((own - lowest) <= width).sum(0) >= min(repeats, len(own))
        found.append(torch.where(known, lowest, 0.0))
        shares.append(float(known.float().mean()) * len(rows) / len(features))
    return FixedNoise(torch.stack(found), sum(shares), width)


def _groups(features: Tensor, width: float) -> list[Tensor]:
    """Rows that share smallest values, the largest group first; one group where none stand out.

    Rows that meet no others are looked at again among themselves: a tensor that lies above another
    one nearly everywhere shows its smallest values only there. Stragglers join the largest group.
    """
    everyone = torch.arange(len(features), device=features.device)
    enough = max(3, len(features) // 50)
    left, groups = everyone, list[Tensor]()
    while len(left) >= enough:
        own = features[left].flatten(1)
        on = ((own - own.amin(0)) <= width).float()
        meet = (on @ on.T) > max(SHARED * own.shape[1], ALIKE)
        count, labels = connected_components(csr_array(meet.cpu().numpy()), directed=False)
        members = [left[torch.from_numpy(labels == one).to(left.device)] for one in range(count)]
        large = [rows for rows in members if len(rows) >= enough]
        groups += large
        if not large or len(groups) > MOST:
            break
        left = torch.cat([rows for rows in members if len(rows) < enough] or [left[:0]])
    if not groups or len(groups) > MOST:
        return [everyone]
    groups.sort(key=len, reverse=True)
    return [torch.cat([groups[0], left]), *groups[1:]]
