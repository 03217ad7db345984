"""A shadow head that answers as the client's does, learned from captures and their own pictures."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from adversary.colour_map import ColourMap
from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.split import cut
from splitlab.training import Batch, Loss, Progress, State, TensorSource, fit

GREY, CONTRAST = 0.45, 0.18
"""White images as a head expects images: around grey, mostly in [0, 1]."""


def paint(white: Tensor, size: int) -> Tensor:
    """[n, 3, h, w] of unit variance -> [n, 3, size, size] of an image's range, not clamped."""
    if white.shape[-2:] != (size, size):
        white = F.interpolate(white, (size, size), mode="bilinear", align_corners=False)
    return GREY + CONTRAST * white


class ShadowHead(nn.Module):
    """Images [B, 3, S, S] -> features: colours taken back to white, then the learned head.

    Args:
        head: of the network's own architecture, learned on painted white images.
        colours: from white images to natural ones.
    """

    matrix: Tensor
    offset: Tensor

    def __init__(self, head: nn.Module, colours: ColourMap) -> None:
        super().__init__()
        self.head = head
        # Buffers of a map that is being turned stay part of the graph that turns it.
        self.register_buffer("matrix", colours.matrix)
        self.register_buffer("offset", colours.offset)

    def forward(self, images: Tensor) -> Tensor:
        white = ColourMap(self.matrix, self.offset).inverse(images)
        return self.head(paint(white, images.shape[-1]))


def learn_head(
    arch: ArchSpec,
    head_end: str,
    tail_start: str | None,
    white: Tensor,
    features: Tensor,
    *,
    epochs: int,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[nn.Module, float]:
    """A head of `arch`, from new weights, that sends the painted white images to the features.

    Args:
        white: [n, 3, h, w], the captures' principal images.
        features: [n, *feature_shape], in the same order.

    Returns:
        the head, and its squared error in shares of the features' variance.
    """
    net = build(arch, seed=seed)
    head = cut(net, head_end, tail_start, arch.input.shape).head.requires_grad_(True).train()
    shape = (1, -1) + (1,) * (features.ndim - 2)
    spread = features.transpose(0, 1).flatten(1).std(1)
    spread = spread.clamp_min(0.01 * float(spread.max())).view(shape).to(device)
    batch_size = min(32, len(white))
    steps = epochs * -(-len(white) // batch_size)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    schedule = OneCycleLR(optimizer, 0.01, total_steps=max(2, steps), pct_start=0.2)

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        answer = state.modules["net"](batch.tensors[0])
        return {"net": ((answer - batch.tensors[1]) / spread).square().mean()}

    history = fit(
        step,
        State({"net": head}, {"net": optimizer}, {"net": schedule}),
        TensorSource((paint(white, arch.input.size).to(device), features.to(device))),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        name="shadow head",
    )
    return head.requires_grad_(False).eval(), history.losses["net"][-1]
