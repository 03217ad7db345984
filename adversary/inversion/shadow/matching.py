"""Statistics that a shadow's features should share with the client's (E-13 f; Yin et al. 2020,
"Dreaming to Distill", for those that the bodies' batch norms keep).

Neither needs a query: batch norms in a body remember mean and variance of what it was trained on,
and captured features need no label to be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from adversary.parts.feature_map import FeatureMap
from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput

Penalty = Callable[[Tensor], Tensor]
"""z' [B, *feature_shape], just after the bodies saw it -> a term of the loss."""
WIDEST = 1024
"""Channels above which covariances are left out: a batch could not tell them."""


class Moments:
    """Mean, deviation and correlation of the channels of captured features.

    Args:
        captured: z^ [n, *feature_shape], n of at least 2, or several places each.
        feature: shape of one of them.
    """

    def __init__(self, captured: Tensor, feature: FeatureSpec) -> None:
        self.read = FeatureMap(feature)
        self.mean, self.std, self.covariance = _moments(self._rows(captured))
        # A channel that never changes would otherwise outweigh all the others.
        self.unit = self.std.clamp_min(max(1e-3 * float(self.std.max()), 1e-6))

    def to(self, device: torch.device) -> Moments:
        """The same object, its tensors on `device`."""
        for name in ("mean", "std", "covariance", "unit"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def distance(self, features: Tensor, *, covariance: bool = True) -> Tensor:
        """Mean squared difference in units of the captured deviations, a scalar >= 0.

        Mean, plus deviation, plus (where asked for) the covariances between channels.
        """
        with torch.autocast(features.device.type, enabled=False):
            mean, std, cov = _moments(self._rows(features.float()))
            far = ((mean - self.mean) / self.unit).square().mean()
            far = far + ((std - self.std) / self.unit).square().mean()
            if covariance and len(mean) <= WIDEST:
                scale = self.unit[:, None] * self.unit
                far = far + ((cov - self.covariance) / scale).fill_diagonal_(0).square().mean()
        return far

    def _rows(self, features: Tensor) -> Tensor:
        maps = self.read(features)
        return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


class BodyStatistics:
    """How far the inputs of the bodies' batch norms are from the running statistics there.

    Listens to the bodies, which have to be the adversary's own copies. Called after a forward pass
    it returns the mean over layers and forgets what it heard.

    Raises:
        BadInput: no batch norm with running statistics.
    """

    def __init__(self, bodies: Sequence[nn.Module]) -> None:
        self._terms: list[Tensor] = []
        norms = [
            module
            for body in bodies
            for module in body.modules()
            if isinstance(module, _BatchNorm) and module.running_mean is not None
        ]
        if not norms:
            raise BadInput(
                "match=statistics: no body has a batch norm with running statistics; "
                "use match=moments or match=nothing"
            )
        for norm in norms:
            norm.register_forward_pre_hook(self._hear)

    def _hear(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if not torch.is_grad_enabled():
            return
        seen = inputs[0].float()
        axes = [axis for axis in range(seen.ndim) if axis != 1]
        mean, var = seen.mean(axes), seen.var(axes, unbiased=False)
        kept_mean: Tensor = norm.running_mean  # type: ignore[assignment]
        kept_var: Tensor = norm.running_var  # type: ignore[assignment]
        unit = kept_var + float(norm.eps)  # type: ignore[arg-type]
        spread = ((var + 1e-12).sqrt() - kept_var.sqrt()).square()
        self._terms.append((((mean - kept_mean).square() + spread) / unit).mean())

    def __call__(self, _features: Tensor) -> Tensor:
        terms, self._terms = self._terms, []
        return torch.stack(terms).mean()


def _moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [C], deviation [C] and covariance [C, C] of [n, C]; the last empty above `WIDEST`."""
    mean = rows.mean(0)
    apart = rows - mean
    std = (apart.square().mean(0) + 1e-12).sqrt()
    if rows.shape[1] > WIDEST:
        return mean, std, rows.new_zeros(0)
    return mean, std, apart.T @ apart / len(rows)
