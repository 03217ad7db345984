"""The same module for inference, faster: BatchNorm folded and channels last, if nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from splitlab.split.folding import fold_batch_norm

TOLERANCE = 1e-5
"""max|delta| / max|y|, the lab's one definition of equality."""


def quick(module: Callable[[Tensor], Tensor], example: Tensor) -> Callable[[Tensor], Tensor]:
    """A folded copy of a module in eval mode, channels last where its input is a picture.

    What is no module, or answers the example otherwise once it is folded, is returned as it is.

    Args:
        module: [B, ...] -> [B, ...].
        example: an input.
    """
    if not isinstance(module, nn.Module):
        return module
    folded = fold_batch_norm(copy.deepcopy(module)).to(memory_format=torch.channels_last)

    def run(x: Tensor) -> Tensor:
        if x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        given: Tensor = folded(x)
        return given

    with torch.inference_mode():
        wanted, given = module(example), run(example)
    scale = float(wanted.abs().max()) or 1.0
    same = float((given - wanted).abs().max()) / scale <= TOLERANCE
    return run if same else module
