"""How far the statistics of a batch are from those that batch norms remember (Yin et al. 2020,
"Dreaming to Distill", equation 4; Dong et al., DCI, equation 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from splitlab.errors import BadInput


class BatchNormGap:
    """Listens to every `BatchNorm2d` of some modules; use as a context manager.

    A batch norm that is run several times in one forward pass counts with its last; one that is
    not run, as those of auxiliary classifiers are not in eval mode, does not count.

    Args:
        modules: in the order of the forward pass, in eval mode.

    Raises:
        BadInput: no batch norm with running statistics is among them.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._norms = [
            layer
            for module in modules
            for layer in module.modules()
            if isinstance(layer, nn.BatchNorm2d) and layer.running_mean is not None
        ]
        if not self._norms:
            raise BadInput(
                "what is granted of the network has no batch norm that remembers its training "
                "images, so that there is nothing to make images from; take an attack that needs "
                "none, such as rmle, or one that learns on images of your own, such as decoder"
            )
        self._seen: dict[nn.BatchNorm2d, tuple[Tensor, Tensor]] = {}
        self._hooks: list[Any] = []

    def __len__(self) -> int:
        return len(self._norms)

    def __enter__(self) -> BatchNormGap:
        self._hooks = [norm.register_forward_pre_hook(self._listen) for norm in self._norms]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _listen(self, norm: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        self._seen[norm] = _Moments.apply(inputs[0])

    def loss(self, first: float = 1.0) -> Tensor:
        """|mean - remembered|_2 + |variance - remembered|_2, summed over the batch norms.

        Args:
            first: weight of the batch norm that was run first; 1 for the others.
        """
        total: Tensor = torch.zeros(())
        for number, (norm, (mean, variance)) in enumerate(self._seen.items()):
            apart = (mean - _remembered(norm.running_mean)).norm() + (
                variance - _remembered(norm.running_var)
            ).norm()
            total = total.to(apart) + (first if number == 0 else 1.0) * apart
        return total

    @torch.no_grad()
    def errors(self) -> list[tuple[float, float]]:
        """Of each batch norm: distance of the means in units of the remembered standard deviation,
        root mean square over the channels; and of the variances, in shares of them."""
        found = []
        for norm, (mean, variance) in self._seen.items():
            known, spread = _remembered(norm.running_mean), _remembered(norm.running_var)
            means = (mean - known).square().mean() / spread.mean().clamp_min(1e-12)
            variances = (variance - spread).norm() / spread.norm().clamp_min(1e-12)
            found.append((float(means.sqrt()), float(variances)))
        return found


class _Moments(torch.autograd.Function):
    """[B, C, H, W] -> mean [C] and biased variance [C], with one pass over memory backward.

    What autograd makes of `mean` and `var` takes as long as the convolution in front of them.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> tuple[Tensor, Tensor]:
        mean = value.mean((0, 2, 3))
        centred = value - mean[:, None, None]
        ctx.save_for_backward(centred)
        return mean, centred.square().mean((0, 2, 3))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, mean: Tensor, variance: Tensor) -> Tensor:
        (centred,) = ctx.saved_tensors
        count = centred.numel() // centred.shape[1]
        shift, slope = (given[:, None, None] / count for given in (mean, 2 * variance))
        return torch.addcmul(shift, centred, slope)


def _remembered(statistics: Tensor | None) -> Tensor:
    assert statistics is not None  # such batch norms were left out
    return statistics
