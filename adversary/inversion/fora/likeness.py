"""How far two sets of features are apart, and a critic of one feature (FORA, section 4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec

BANDWIDTHS = tuple(2.0**k for k in range(-3, 2))
"""Of the Gaussian kernels, in units of the mean squared distance."""
SMALL = 4
"""Side of the map that a critic judges as a whole."""


def kernel_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Squared maximum mean discrepancy under a sum of Gaussian kernels, unbiased: a scalar.

    Near 0 where both are drawn from one distribution; may be a little below.

    Args:
        ours, theirs: [n, *feature_shape] and [m, *feature_shape], n and m at least 2.
    """
    n, m = len(ours), len(theirs)
    rows = torch.cat([ours, theirs]).flatten(1)
    squared = torch.cdist(rows, rows).square()
    unit = squared.detach().sum() / ((n + m) * (n + m - 1))
    kernel = torch.stack([(-squared / (2 * b * unit).clamp_min(1e-12)).exp() for b in BANDWIDTHS])
    kernel = kernel.sum(0)
    own, other = kernel[:n, :n], kernel[n:, n:]
    within = (own.sum() - own.trace()) / (n * (n - 1))
    beyond = (other.sum() - other.trace()) / (m * (m - 1))
    return within + beyond - 2 * kernel[:n, n:].mean()


class MapDistance:
    """`kernel_distance` of features as they are, plus that of their maps seen coarsely.

    Between features of many numbers all distances are nearly alike; averages over squares of
    places tell light from dark and one colour from another.

    Args:
        feature: shape of one feature.
        pooled: places a side of such a square; 1, or a map that is smaller, for none.
    """

    def __init__(self, feature: FeatureSpec, pooled: int) -> None:
        self.read, self.pooled = FeatureMap(feature), pooled
        self.coarse = 1 < pooled <= min(self.read.shape[1:])

    def __call__(self, ours: Tensor, theirs: Tensor) -> Tensor:
        found = kernel_distance(ours, theirs)
        if not self.coarse:
            return found
        maps = (F.avg_pool2d(self.read(one), self.pooled) for one in (ours, theirs))
        return found + kernel_distance(*maps)


class FeatureCritic(nn.Module):
    """z [B, *feature_shape] -> scores [B], no row depending on another.

    It sees features in units of the captured ones' deviation, so that a slope of 1 means the same
    whatever their scale. All channels have one unit: a client's dead ones, in a unit of their own,
    would be all that it looks at.

    Args:
        captured: z^ [m, *feature_shape].
        width: channels of its convolutions.
    """

    mean: Tensor
    unit: Tensor

    def __init__(self, captured: Tensor, width: int = 64) -> None:
        super().__init__()
        self.read = FeatureMap(FeatureSpec(shape=tuple(captured.shape[1:])))
        maps = self.read(captured.float())
        self.register_buffer("mean", maps.mean((0, 2, 3), keepdim=True))
        self.register_buffer("unit", (maps - self.mean).std().clamp_min(1e-6))
        channels, side = maps.shape[1], min(maps.shape[2:])
        layers: list[nn.Module] = []
        while side > SMALL:
            layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            channels, side = width, (side + 1) // 2
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        layers += [nn.AdaptiveAvgPool2d(side), nn.Flatten()]
        self.layers = nn.Sequential(*layers, nn.Linear(width * side**2, 1))

    def forward(self, feature: Tensor) -> Tensor:
        maps = (self.read(feature) - self.mean) / self.unit
        scores: Tensor = self.layers(maps)[:, 0]
        return scores


def steepness(critic: nn.Module, ours: Tensor, theirs: Tensor, share: Tensor) -> Tensor:
    """Mean squared distance from 1 of the critic's slope between features of both."""
    between = (share * theirs + (1 - share) * ours).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
