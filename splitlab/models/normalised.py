"""A classifier that is fed images in [0, 1]: normalisation travels with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Normalised(nn.Module):
    """(x - mean) / std, then `net`.

    `net` keeps the key names of its library, so published checkpoints load into `.net`; `mean` and
    `std` come from the `ArchSpec` and are not part of any state dict.

    Args:
        net: images [B, C, H, W], normalised -> logits [B, classes].
        mean: per channel, in units of [0, 1].
        std: per channel, in units of [0, 1], above zero.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, C, H, W] in [0, 1] -> logits [B, classes].

        Some networks answer with a tuple in train mode (GoogLeNet and Inception with their
        auxiliary classifiers); the first entry is the logits. In eval mode a tuple stays one: which
        entry an adversary's or a client's answer would be is not for us to guess.
        """
        out = self.net((images - self.mean) / self.std)
        return out[0] if self.net.training and isinstance(out, tuple) else out
