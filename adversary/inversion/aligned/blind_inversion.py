"""Pictures and head at once: which pictures does a head turn into exactly these features?

A head of three colours and many filters has far fewer inputs than outputs, so that hardly any
other pictures than the right ones fit, up to a map of their colours that the head undoes. Started
from principal images and a head learned on them, both follow the gradient of the features' error.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.aligned.head import feature_error, paint, spread_of
from adversary.inversion.aligned.principal_images import Whitening
from splitlab.training import Batch, Loss, State, TensorSource, batch_count

PICTURES, HEAD = 0.2, 0.05
"""Learning rates of the pictures, in their standard deviations, and of the head's weights. Slower
ones, or a head that has fully learned the start, end in pictures that only nearly fit."""


class WhiteHead(nn.Module):
    """White images [B, 3, h, w] -> features.

    Args:
        head: learned on painted pictures.
        whitening: of these pictures.
        size: side of the head's images.
    """

    colour: Tensor
    mean: Tensor

    def __init__(self, head: nn.Module, whitening: Whitening, size: int) -> None:
        super().__init__()
        self.head, self.size = head, size
        self.register_buffer("colour", whitening.colour)
        self.register_buffer("mean", whitening.mean.view(1, 3, 1, 1))

    def forward(self, white: Tensor) -> Tensor:
        pictures = torch.einsum("ij,njhw->nihw", self.colour, white) + self.mean
        return self.head(paint(pictures, self.size))


class Inverted(NamedTuple):
    """
    Args:
        white: [n, 3, h, w] of mean 0 and covariance I.
        head: white images -> features.
        error: of the head on them, in shares of the features' variance.
    """

    white: Tensor
    head: WhiteHead
    error: float


def invert(
    head: nn.Module,
    white: Tensor,
    features: Tensor,
    *,
    size: int,
    epochs: int,
    seed: int,
    work: Workplace = ALONE,
) -> Inverted:
    """Pictures of the captured features, from `white`, together with their head.

    Args:
        head: learned on `white` as it is painted; changed in place.
        white: [n, 3, h, w], for a start.
        features: [n, *feature_shape], in the same order.
        size: side of the head's images.
        epochs: passes over the captures; 0 leaves both as they are.
    """
    device = work.place
    pictures = nn.Parameter(white.to(device).clone())
    spread = spread_of(features).to(device)
    head.requires_grad_(True).eval()
    batch_size = min(32, len(white))
    optimizer = torch.optim.Adam(
        [
            {"params": [pictures], "lr": PICTURES},
            {"params": list(head.parameters()), "lr": HEAD},
        ],
        betas=(0.9, 0.99),
    )
    steps = max(1, epochs * batch_count(len(white), batch_size))

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        answer = state.modules["net"](paint(state.tensors["pictures"][batch.indices], size))
        return {"net": feature_error(answer, batch.tensors[0], spread)}

    work.fit(
        step,
        State(
            {"net": head},
            {"net": optimizer},
            {"net": CosineAnnealingLR(optimizer, steps)},
            {"pictures": pictures},
        ),
        TensorSource((features,)),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        name="pictures and head",
    )
    head.requires_grad_(False)
    found = pictures.detach()
    whitening = Whitening(found)
    whole = WhiteHead(head, whitening, size).to(device).eval()
    back = torch.einsum("ij,njhw->nihw", whitening.white, found - whitening.mean.view(1, 3, 1, 1))
    with torch.no_grad():
        pairs = zip(back.split(128), features.to(device).split(128), strict=True)
        errors = [float(feature_error(whole(a), b, spread)) * len(b) for a, b in pairs]
    return Inverted(back, whole, sum(errors) / len(features))
