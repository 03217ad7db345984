"""Arguments as data: nested tuples, lists, dicts and slices with marks in place of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from splitlab.errors import NotCuttable


@dataclass(frozen=True)
class Ref:
    """The result of an earlier step of a tape."""

    step: int


@dataclass(frozen=True)
class Batch:
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


def merge_batches(one: Any, two: Any, batches: tuple[int, int], where: str) -> Any:
    """Arguments at both batch sizes -> arguments at any.

    Raises:
        NotCuttable: they differ in something that is no multiple of the batch size.
    """
    pairs = iter(list(leaves(two)))

    def change(leaf: Any) -> Any:
        other = next(pairs)
        if leaf is other or leaf == other:
            return leaf
        if type(leaf) is int and type(other) is int:
            factor, rest = divmod(leaf, batches[0])
            if rest == 0 and factor * batches[1] == other:
                return Batch(factor)
        raise NotCuttable(
            f"{where}: an argument is {leaf!r} for {batches[0]} images and {other!r} for "
            f"{batches[1]}, which is no multiple of the batch size"
        )

    return map_leaves(one, change)


def per_image(one: Any, two: Any, batches: tuple[int, int]) -> Shape | None:
    """The shape of one image's part, where dimension 0 is the batch and no other one grows."""
    if not (isinstance(one, Shape) and isinstance(two, Shape) and one.dtype.is_floating_point):
        return None
    if one.shape[:1] != batches[:1] or two.shape[:1] != batches[1:]:
        return None
    return Shape(one.shape[1:], one.dtype) if one.shape[1:] == two.shape[1:] else None
