"""A copy of a network to be followed: with its numbers where that is cheap, else without."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable
from splitlab.split.limits.modules import refuse_training
from splitlab.split.trace.tensor_book import without_numbers

# Parameters x pixels above which a network is followed by shapes alone. Below, ten small images
# take less time than PyTorch needs to import its rules for shapes (seconds, once a process).
_CHEAP = 16e9


def shadow(net: nn.Module, *, numbers: bool) -> nn.Module:
    """A copy in eval mode that shares all parameters with `net`.

    Args:
        net: left as it is.
        numbers: False puts the parameters on the meta device. Buffers keep their numbers: index
            tables and masks made from them may steer the network's Python.

    Raises:
        NotCuttable: it cannot be copied, or does not go into eval mode.
    """
    memo: dict[int, Any] = {}
    with torch.inference_mode(False), torch.no_grad():
        memo |= {id(buffer): buffer.clone() for buffer in net.buffers()}
    for parameter in net.parameters():
        kept = parameter if numbers else without_numbers(parameter)
        memo[id(parameter)] = nn.Parameter(kept.detach(), requires_grad=False)
    memo |= {number: tensor for number, tensor in made_weights(net).items() if number not in memo}
    try:
        made = copy.deepcopy(net, memo).eval()
    except Exception as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise NotCuttable(f"the network cannot be copied and put into eval mode: {why}") from error
    refuse_training(made)
    return made


def made_weights(net: nn.Module) -> dict[int, Tensor]:
    """By id, a twin of each tensor that a module has made of its parameters and holds.

    A weight norm makes one, which the next call replaces; Python cannot copy it.
    """
    held = (value for module in net.modules() for value in vars(module).values())
    made = (value for value in held if isinstance(value, Tensor) and not value.is_leaf)
    return {id(tensor): tensor.detach().clone() for tensor in made}


def is_cheap(net: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Whether to follow `net` with its numbers."""
    pixels = input_shape[-1] * input_shape[-2]
    parameters = list(net.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    return count * pixels <= _CHEAP and not any(parameter.is_meta for parameter in parameters)


def images(net: nn.Module, shape: tuple[int, ...], *, numbers: bool) -> Tensor:
    """Images of `shape` [B, ...] for a shadow; with numbers, others for each batch size."""
    if not numbers:
        return torch.empty(shape, device="meta")
    source = torch.Generator().manual_seed(shape[0])
    device = next((tensor.device for tensor in net.parameters()), torch.device("cpu"))
    return torch.rand(shape, generator=source).to(device)
