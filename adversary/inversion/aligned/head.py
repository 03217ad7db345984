"""A shadow head that answers as the client's does, learned from captures and their own pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.overrides import TorchFunctionMode

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.aligned.colour_map import ColourMap
from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.split import cut
from splitlab.training import Batch, Loss, State, TensorSource, batch_count

GREY, CONTRAST = 0.45, 0.18
"""White images as a head expects images: around grey, mostly in [0, 1]."""
LEAKS, SLOPE = 0.7, 0.1
"""Share of the epochs in which ReLUs leak, and how much."""
RELUS = {F.relu, F.relu_, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}


def paint(white: Tensor, size: int) -> Tensor:
    """[n, 3, h, w] of unit variance -> [n, 3, size, size] of an image's range, not clamped."""
    if white.shape[-2:] != (size, size):
        white = F.interpolate(white, (size, size), mode="bilinear", align_corners=False)
    return GREY + CONTRAST * white


class Leaking(TorchFunctionMode):
    """Inside it a ReLU lets a little of what is negative through.

    A channel of new weights that starts the wrong way round would else be driven to answer 0 to
    everything, and no gradient would wake it again.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS:
            return F.leaky_relu(args[0], SLOPE)
        return func(*args, **(kwargs or {}))


class ShadowHead(nn.Module):
    """Images [B, 3, S, S] -> features: colours taken back to white, then the learned head.

    Args:
        head: white images -> features.
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
        return self.head(ColourMap(self.matrix, self.offset).inverse(images))


def learn_head(
    arch: ArchSpec,
    head_end: str,
    tail_start: str | None,
    white: Tensor,
    features: Tensor,
    *,
    epochs: int,
    seed: int,
    work: Workplace = ALONE,
) -> nn.Module:
    """A head of `arch`, from new weights, that sends the painted white images to the features.

    Args:
        white: [n, 3, h, w], the captures' principal images.
        features: [n, *feature_shape], in the same order.
    """
    net = build(arch, seed=seed)
    head = cut(net, head_end, tail_start, arch.input.shape).head.requires_grad_(True).train()
    spread = spread_of(features).to(work.place)
    batch_size = min(32, len(white))
    steps = epochs * batch_count(len(white), batch_size)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    schedule = OneCycleLR(optimizer, 0.01, total_steps=max(2, steps), pct_start=0.2)
    source = TensorSource((paint(white, arch.input.size), features))

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        answer = state.modules["net"](batch.tensors[0])
        return {"net": feature_error(answer, batch.tensors[1], spread)}

    def leaking(state: State, batch: Batch) -> dict[str, Loss]:
        with Leaking():
            return step(state, batch)

    early = round(LEAKS * epochs)
    for part, count in ((leaking, early), (step, epochs - early)):
        work.fit(
            part,
            State({"net": head}, {"net": optimizer}, {"net": schedule}),
            source,
            epochs=count,
            batch_size=batch_size,
            seed=seed,
            name="shadow head",
        )
    return head.requires_grad_(False).eval()


def spread_of(features: Tensor) -> Tensor:
    """Standard deviation of each channel of [n, C, ...], [1, C, ...], none below 1 % of the
    largest."""
    spread = features.transpose(0, 1).flatten(1).std(1)
    shape = (1, -1) + (1,) * (features.ndim - 2)
    return spread.clamp_min(0.01 * float(spread.max())).view(shape)


def feature_error(found: Tensor, wanted: Tensor, spread: Tensor) -> Tensor:
    """Mean squared error in shares of each channel's variance."""
    return ((found - wanted) / spread).square().mean()
