"""Multiply-accumulates of what runs, from the shapes that PyTorch's dispatcher sees."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class MacCounter(TorchDispatchMode):
    """Counts convolutions, linear layers, matrix products and attention while it is active.

    One multiply-accumulate is two of the operations of PyTorch's own formulas. Element-wise
    operations, normalisation, softmax, pooling, interpolation and copies count as nothing.

    It counts as well how often random numbers were drawn (`draws`), and how often the shape of a
    result hung on numbers (`ragged`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.draws = 0
        self.ragged = 0


def _count(
    self: MacCounter, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
) -> Any:
    del types
    kwargs = kwargs or {}
    out = func(*args, **kwargs)
    self.draws += torch.Tag.nondeterministic_seeded in func.tags
    self.ragged += _is_ragged(func, args)
    formula = flop_registry.get(func._overloadpacket)
    if formula is not None:
        self.macs += formula(*args, **kwargs, out_val=out) // 2
    return out


def _is_ragged(func: Any, args: tuple[Any, ...]) -> bool:
    """Whether the shape of the result depends on numbers; of an index only where it is a mask."""
    if torch.Tag.dynamic_output_shape not in func.tags:
        return False
    if func is not torch.ops.aten.index.Tensor:
        return True
    masks = (torch.bool, torch.uint8)
    return any(index is not None and index.dtype in masks for index in args[1])


# Attached after the class is made: PyTorch wraps a method that stands in the class body so that
# its first call imports the whole of torch.compile, which takes seconds and is of no use here.
MacCounter.__torch_dispatch__ = _count  # type: ignore[method-assign,assignment]
