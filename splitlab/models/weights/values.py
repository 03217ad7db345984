"""Whether tensors of a file can be the weights of a float network: kinds first, then numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from splitlab.errors import Corrupt, foreign

_REAL = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHOWN = 3


def check_plain(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path | str
) -> None:
    """
    Args:
        tensors: as read from `path`.
        wanted: the network's own, whose dtypes count.

    Raises:
        Corrupt: quantised, sparse, complex or valueless tensors; names the first ones.
    """
    reasons: dict[str, list[str]] = {}
    for name, value in tensors.items():
        reason = _reason(value, wanted.get(name))
        if reason is not None:
            reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        what, _, remedy = reason.partition("; ")
        raise Corrupt(path, f"{_some(names)}: {what}", remedy)


def _reason(value: Tensor, own: Tensor | None) -> str | None:
    """What `value` is in place of plain numbers, and what to do; None where it is plain."""
    kind = str(value.dtype).removeprefix("torch.")
    full = "save the state dict of the network before it was quantised"
    if value.is_quantized:
        return f"quantised to INT8 ({kind}), float weights are wanted; {full}"
    if value.is_meta:
        return "without values (device meta); save the network after its weights are loaded"
    if value.is_nested or value.layout != torch.strided:
        layout = "nested" if value.is_nested else str(value.layout).removeprefix("torch.")
        return f"sparse or packed (layout {layout}); save them dense, with .to_dense()"
    if value.is_complex():
        return f"complex ({kind}), real weights are wanted; give a real network's"
    if own is not None and own.is_floating_point() and value.dtype not in _REAL:
        return f"of {kind}, as quantised weights are, float ones are wanted; {full}"
    return None


def check_finite(tensors: Mapping[str, Tensor], path: Path | str) -> None:
    """
    Raises:
        Corrupt: NaN, infinity, or a variance of a batch norm below zero; names the first tensors.
    """
    bad = [
        f"{name} ({int((~value.isfinite()).sum())} of {value.numel()})"
        for name, value in tensors.items()
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if bad:
        raise Corrupt(
            path,
            f"holds NaN or infinite weights: {_some(bad)}",
            "its training has diverged, give an earlier checkpoint",
        )
    below = [
        name
        for name, value in tensors.items()
        if name.rpartition(".")[2] == "running_var" and bool((value < 0).any())
    ]
    if below:
        raise Corrupt(
            path,
            f"holds variances below zero, which no training makes: {_some(below)}",
            "give another checkpoint",
        )


def _some(names: Iterable[str]) -> str:
    named = [foreign(name, 80) for name in names]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more
