"""Arguments as data: nested tuples, lists, dicts and slices with marks in place of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Ref:
    """The result of an earlier step of a tape."""

    step: int


@dataclass(frozen=True)
class BatchMark:
    """An int that is `factor` times the batch size."""

    factor: int


@dataclass(frozen=True)
class Device:
    """The device of the tensors at hand, wherever the network runs."""


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with every leaf replaced by `change(leaf)`; tuples of any kind become plain ones."""
    if isinstance(value, tuple):
        return tuple(map_leaves(item, change) for item in value)
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    if isinstance(value, dict):
        return {key: map_leaves(item, change) for key, item in value.items()}
    if isinstance(value, slice):
        parts = (value.start, value.stop, value.step)
        return slice(*(map_leaves(part, change) for part in parts))
    return change(value)


def leaves(value: Any) -> Iterator[Any]:
    """Every leaf of `value`, in order."""
    found: list[Any] = []
    _collect(value, found)
    return iter(found)


def _collect(value: Any, found: list[Any]) -> None:
    """Several times as fast as nested generators, and asked for at each operation."""
    if isinstance(value, (tuple, list)):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, found)
    elif isinstance(value, slice):
        found += (value.start, value.stop, value.step)
    else:
        found.append(value)


def tensors(value: Any) -> list[Tensor]:
    """Every tensor in `value`, in order."""
    return [leaf for leaf in leaves(value) if isinstance(leaf, Tensor)]


def refs(value: Any) -> list[int]:
    """The steps that `value` refers to, in order."""
    return [leaf.step for leaf in leaves(value) if isinstance(leaf, Ref)]


@dataclass(frozen=True)
class Shape:
    """What is known of a tensor without its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype


def shapes(value: Any) -> Any:
    """`value` with every tensor replaced by its `Shape`."""

    def change(leaf: Any) -> Any:
        return Shape(tuple(leaf.shape), leaf.dtype) if isinstance(leaf, Tensor) else leaf

    return map_leaves(value, change)
