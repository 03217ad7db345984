"""A prior in closed form: images of N(mean, covariance), and the noise network that knows it."""

from __future__ import annotations

import torch
from torch import Tensor

from adversary.inversion.drag.schedule import alpha_bars

SIZE = 4
NUMBERS = 3 * SIZE**2
LEVELS = alpha_bars("linear")


class GaussianPrior:
    """x_0 in [-1, 1] of N(mean, covariance); small deviations, so that nothing is cut off."""

    def __init__(self, seed: int = 0, deviation: float = 0.15) -> None:
        draw = torch.Generator().manual_seed(seed)
        mixing = torch.randn(NUMBERS, NUMBERS, generator=draw, dtype=torch.float64)
        turned = torch.linalg.qr(mixing).Q
        spread = torch.linspace(0.5, 1.5, NUMBERS, dtype=torch.float64) * deviation
        self.mean = 0.3 * torch.rand(NUMBERS, generator=draw, dtype=torch.float64) - 0.15
        self.covariance = turned @ spread.square().diag() @ turned.T

    def draw(self, count: int, seed: int) -> Tensor:
        """Images [count, 3, 4, 4] in [0, 1]."""
        rng = torch.Generator().manual_seed(seed)
        noise = torch.randn(count, NUMBERS, generator=rng, dtype=torch.float64)
        rows = self.mean + noise @ torch.linalg.cholesky(self.covariance).T
        return ((rows + 1) / 2).float().view(count, 3, SIZE, SIZE)

    def epsilon(self, images: Tensor, times: Tensor) -> Tensor:
        """(x_t - sqrt(a) E[x_0 | x_t]) / sqrt(1 - a), all rows at one time."""
        level = LEVELS[int(times[0])]
        eye = torch.eye(NUMBERS, dtype=torch.float64)
        within = level * self.covariance + (1 - level) * eye
        apart = images.flatten(1).double() - level.sqrt() * self.mean
        # E[eps | x_t] = sqrt(1 - a) Cov(x_t)^-1 (x_t - sqrt(a) mean)
        noise = (1 - level).sqrt() * torch.linalg.solve(within, apart.T).T
        return noise.float().view_as(images)

    def posterior(self, matrix: Tensor, seen: Tensor) -> Tensor:
        """E[x_0 | matrix x_0 = seen] as images in [0, 1]; `matrix` [m, 48], `seen` [n, m]."""
        across = self.covariance @ matrix.T
        gain = across @ torch.linalg.inv(matrix @ across)
        rows = self.mean + (seen - self.mean @ matrix.T) @ gain.T
        return ((rows + 1) / 2).float().view(len(seen), 3, SIZE, SIZE)


def linear_head(matrix: Tensor):
    """Images in [0, 1] -> `matrix` times the image in [-1, 1]."""
    return lambda images: (2 * images.flatten(1) - 1) @ matrix.to(images).T


def rngs(count: int, seed: int = 0) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(1000 * seed + row) for row in range(count)]
