"""A gradient that a network takes while it answers: a part, which has none, cannot take it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitlab.errors import NotCuttable

_TAKES = frozenset({torch.autograd.grad, torch.autograd.backward, Tensor.backward})


def refuse_gradient(func: Any, where: str) -> None:
    """
    Raises:
        NotCuttable: `func` takes a gradient, or reads one that was left on a tensor.
    """
    if func in _TAKES or getattr(func, "__self__", None) is Tensor.grad:
        raise NotCuttable(
            f"{where or 'the network'}: it takes a gradient inside forward (torch.autograd), and "
            "parts run in inference mode, where there is none; write the gradient out as "
            "operations, or do this step outside of the network that is cut"
        )
