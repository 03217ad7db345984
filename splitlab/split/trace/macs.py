"""Multiply-accumulates of what runs, from the shapes that PyTorch's dispatcher sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """MACs of scaled dot-product attention: scores, then their mixture of values.

    Args:
        query: [..., H, L, E]; its heads count where several share one key (grouped queries).
        key: [..., H', S, E].
        value: [..., H', S, E'].
    """
    pairs = query.shape[:-1].numel() * key.shape[-2]
    return pairs * (query.shape[-1] + value.shape[-1])


def vector_product(left: Tensor, right: Tensor, *_: Any, **__: Any) -> int:
    """MACs of matrix [n, m] by vector [m], or of two vectors [m]."""
    return left.numel() if left.dim() >= right.dim() else right.numel()


def trilinear(left: Tensor, weight: Tensor, *_: Any, **__: Any) -> int:
    """MACs of `nn.Bilinear`: left [B, I] by weight [O, I, J], then by right [B, J]."""
    outputs, _inner, width = weight.shape
    return left.shape[0] * (weight.numel() + outputs * width)


def recurrent(steps: Tensor, into: Tensor, onward: Tensor, *_: Any, **__: Any) -> int:
    """MACs of one layer and direction: steps [T, B, I], weights [G, I] and [G, H]."""
    return steps.shape[:2].numel() * (into.numel() + onward.numel())


_OWN: dict[str, Callable[..., int]] = {
    **dict.fromkeys(
        (
            # What a CPU runs has no formula in PyTorch before 2.15.
            "aten._scaled_dot_product_flash_attention_for_cpu",
            "aten._scaled_dot_product_flash_attention",
            "aten._scaled_dot_product_efficient_attention",
            "aten._scaled_dot_product_cudnn_attention",
            "aten._scaled_dot_product_fused_attention_overrideable",
            "aten._scaled_dot_product_attention_math_for_mps",
        ),
        attention,
    ),
    **dict.fromkeys(("aten.mv", "aten.dot", "aten.vdot"), vector_product),
    "aten.addmv": lambda _bias, matrix, vector, *_, **__: vector_product(matrix, vector),
    "aten._trilinear": trilinear,
    "aten.mkldnn_rnn_layer": recurrent,
}


class MacCounter(TorchDispatchMode):
    """Counts convolutions, linear and recurrent layers, matrix products and attention while active.

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
    own = _OWN.get(str(func._overloadpacket))
    if own is not None:
        self.macs += own(*args, **kwargs)
        return out
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
