"""How far two sets of features are apart, and a critic of one feature (FORA, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec

BANDWIDTHS = tuple(2.0**k for k in range(-3, 2))
"""Of the Gaussian kernels, in units of the mean squared distance."""


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


class FeatureCritic(nn.Module):
    """z [B, *feature_shape] -> scores [B], no row depending on another.

    Args:
        feature: shape of one feature.
        width: channels of its convolutions.
    """

    def __init__(self, feature: FeatureSpec, width: int = 64) -> None:
        super().__init__()
        self.read = FeatureMap(feature)
        channels, height, breadth = self.read.shape
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(0.2)]
        side = min(height, breadth)
        while side > 4:
            layers += [nn.Conv2d(width, width, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            side = (side + 1) // 2
        layers += [nn.AdaptiveAvgPool2d(min(4, side)), nn.Flatten()]
        self.layers = nn.Sequential(*layers, nn.Linear(width * min(4, side) ** 2, 1))

    def forward(self, feature: Tensor) -> Tensor:
        scores: Tensor = self.layers(self.read(feature))[:, 0]
        return scores


def steepness(critic: nn.Module, ours: Tensor, theirs: Tensor, share: Tensor) -> Tensor:
    """Mean squared distance from 1 of the critic's slope between features of both."""
    between = (share * theirs + (1 - share) * ours).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
