"""Multiply-accumulates of what runs, from the shapes that PyTorch's dispatcher sees."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class MacCounter(TorchDispatchMode):
    """Counts convolutions, linear layers, matrix products and attention while it is active.

    One multiply-accumulate is two of the operations of PyTorch's own formulas. Element-wise
    operations, normalisation, softmax, pooling, interpolation and copies count as nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0


def _count(
    self: MacCounter, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
) -> Any:
    del types
    kwargs = kwargs or {}
    out = func(*args, **kwargs)
    formula = flop_registry.get(func._overloadpacket)
    if formula is not None:
        self.macs += formula(*args, **kwargs, out_val=out) // 2
    return out


# Attached after the class is made: PyTorch wraps a method that stands in the class body so that
# its first call imports the whole of torch.compile, which takes seconds and is of no use here.
MacCounter.__torch_dispatch__ = _count  # type: ignore[method-assign,assignment]
