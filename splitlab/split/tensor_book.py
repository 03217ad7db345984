"""Which step of a tape a live tensor comes from, and what a write in place does to the others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable
from splitlab.split.tree import map_leaves, tensors

Versions = list[tuple[Tensor, int]]


def versions(value: Any) -> Versions:
    """Every tensor in `value` with its count of writes so far."""
    return [(tensor, tensor._version) for tensor in tensors(value)]


def changed(before: Versions) -> list[Tensor]:
    """The tensors that were written to since `before` was taken, each once."""
    found = {id(t): t for t, version in before if t._version != version}
    return list(found.values())


class TensorBook:
    """Tensors are told apart by identity; every one entered is kept alive, so that ids hold."""

    def __init__(self, root: nn.Module) -> None:
        self._attributes: dict[int, str] = {}
        for name, tensor in (*root.named_parameters(), *root.named_buffers()):
            self._attributes.setdefault(id(tensor), name)
        self._steps: dict[int, int] = {}
        self._stale: dict[int, str] = {}
        self._sharing: dict[int, list[Tensor]] = {}
        self._on_meta: dict[int, Tensor] = {}
        self._kept: dict[int, Tensor] = {}

    def attribute(self, tensor: Tensor) -> str | None:
        """The name of the parameter or buffer that `tensor` is, if it is one."""
        return self._attributes.get(id(tensor))

    def enter(self, tensor: Tensor, step: int) -> None:
        """`tensor` now holds the result of `step`."""
        if id(tensor) not in self._kept:
            self._sharing.setdefault(_storage(tensor), []).append(tensor)
        self._kept[id(tensor)] = tensor
        self._steps[id(tensor)] = step
        self._stale.pop(id(tensor), None)

    def known(self, tensor: Tensor, where: str = "the network") -> int | None:
        """The step whose result `tensor` holds, or None.

        Raises:
            NotCuttable: its memory was written to through another view since.
        """
        if id(tensor) in self._stale:
            raise NotCuttable(
                f"{where}: reads a tensor that {self._stale[id(tensor)]} changed in place through "
                "another view; such a network cannot be cut"
            )
        return self._steps.get(id(tensor))

    def overwritten(self, tensor: Tensor, by: str) -> None:
        """`by` wrote into `tensor`: all other views of its memory are out of date."""
        self._on_meta.pop(id(tensor), None)
        for other in self._sharing.get(_storage(tensor), []):
            if other is not tensor:
                self._stale[id(other)] = by

    def movable(self, value: Any) -> Any:
        """`value` fit for execution: beside a tensor without numbers none may have any."""
        on_meta = {tensor.is_meta for tensor in tensors(value)}
        return map_leaves(value, self._without_numbers) if len(on_meta) == 2 else value

    def _without_numbers(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.is_meta:
            return leaf
        if id(leaf) not in self._on_meta:
            self._kept[id(leaf)] = self._kept.get(id(leaf), leaf)
            self._on_meta[id(leaf)] = without_numbers(leaf)
        return self._on_meta[id(leaf)]


def without_numbers(tensor: Tensor) -> Tensor:
    """A meta tensor of the same shape, strides and dtype.

    Not `tensor.to("meta")`: its first call imports the whole of torch.compile, which takes seconds.
    """
    shape, stride = tensor.shape, tensor.stride()
    return torch.empty_strided(shape, stride, dtype=tensor.dtype, device="meta")


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
