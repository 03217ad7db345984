"""Which step of a tape a live tensor comes from, and what a write in place does to the others.

Tensors that share memory are told apart by how they were made: one of them, the root, holds the
memory, and the others are views that can be taken again after the root has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from splitlab.errors import NotCuttable
from splitlab.split.trace.calls import Call
from splitlab.split.trace.tree import Ref, map_leaves, tensors

Versions = list[tuple[Tensor, int]]


def versions(value: Any) -> Versions:
    """Every tensor in `value` with its count of writes so far.

    Tensors made under inference mode have no count; nothing can write to them outside of it.
    """
    return [(tensor, tensor._version) for tensor in tensors(value) if not tensor.is_inference()]


def changed(before: Versions) -> list[Tensor]:
    """The tensors that were written to since `before` was taken, each once."""
    found = {id(t): t for t, version in before if t._version != version}
    return list(found.values())


def without_numbers(tensor: Tensor) -> Tensor:
    """A meta tensor of the same shape, strides and dtype.

    Not `tensor.to("meta")`: its first call imports the whole of torch.compile, which takes seconds.
    """
    shape, stride = tensor.shape, tensor.stride()
    return torch.empty_strided(shape, stride, dtype=tensor.dtype, device="meta")


class TensorBook:
    """Tensors are told apart by identity; every one entered is kept alive, so that ids hold.

    Args:
        root: the network; its parameters and buffers are known by name.
        call_of: step -> its call.
        again: (step, step to start from) -> a new step: the same call on another first argument.
    """

    def __init__(
        self, root: nn.Module, call_of: Callable[[int], Call], again: Callable[[int, int], int]
    ) -> None:
        self._call_of, self._again = call_of, again
        self._attributes: dict[int, str] = {}
        for name, tensor in (*root.named_parameters(), *root.named_buffers()):
            self._attributes.setdefault(id(tensor), name)
        self._kept: dict[int, Tensor] = {}
        self._on_meta: dict[int, Tensor] = {}
        # Of a tensor: its step, and how often its memory had been written to when it was entered.
        self._entries: dict[int, tuple[int, int]] = {}
        # Of a step: the memory of its result. Of a memory: its root, writes and last writer.
        self._memory_of: dict[int, int] = {}
        self._roots: dict[int, int] = {}
        self._writes: dict[int, int] = {}
        self._writer: dict[int, str] = {}
        # A root that was overwritten whole or in part, and the one that took its place.
        self._followed_by: dict[int, int] = {}

    def attribute(self, tensor: Tensor) -> str | None:
        """The name of the parameter or buffer that `tensor` is, if it is one."""
        return self._attributes.get(id(tensor))

    def step_of(self, tensor: Tensor) -> int | None:
        """The step whose result `tensor` held when it was entered, or None."""
        entry = self._entries.get(id(tensor))
        return None if entry is None else entry[0]

    def left(self, depends: Sequence[bool]) -> dict[int, tuple[Tensor, bool]]:
        """Every tensor that a step made, by id, with whether it depends on the image."""
        return {
            number: (self._kept[number], depends[step])
            for number, (step, _) in self._entries.items()
            if self._call_of(step).op != "get_attr"
        }

    def enter(self, tensor: Tensor, step: int) -> None:
        """`tensor` now holds the result of `step`."""
        self._kept[id(tensor)] = tensor
        memory = _memory(tensor)
        self._entries[id(tensor)] = (step, self._writes.setdefault(memory, 0))
        self._memory_of[step] = memory
        self._roots.setdefault(memory, step)

    def enter_parts(self, value: Any, step: int) -> None:
        """`step` has several results; where they are views of one memory, that is noted."""
        memories = {_memory(tensor) for tensor in tensors(value)}
        if len(memories) == 1 and next(iter(memories)) in self._roots:
            self._memory_of[step] = memories.pop()

    def known(self, tensor: Tensor, where: str = "the network") -> int | None:
        """The step whose result `tensor` holds, or None. Views of changed memory are taken again.

        Raises:
            NotCuttable: its memory was changed in a way that cannot be repeated for it.
        """
        if id(tensor) not in self._entries:
            return None
        step, seen = self._entries[id(tensor)]
        memory = _memory(tensor)
        if seen == self._writes[memory]:
            return step
        chain, origin = self.views(step)
        while origin in self._followed_by:
            origin = self._followed_by[origin]
        if origin != self._roots[memory]:
            raise NotCuttable(
                f"{where}: reads a tensor that {self._writer[memory]} changed in place through "
                "another view; such a network cannot be cut"
            )
        for view in chain:
            origin = self._again(view, origin)
            self._memory_of[origin] = memory
        self._entries[id(tensor)] = (origin, self._writes[memory])
        return origin

    def views(self, step: int) -> tuple[list[int], int]:
        """The steps by which the result of `step` is a view of its root, and that root."""
        chain: list[int] = []
        roots = {*self._roots.values(), *self._followed_by}
        while step not in roots:
            args = self._call_of(step).args
            source = args[0] if args else None
            if not isinstance(source, Ref) or source.step not in self._memory_of:
                break
            if self._memory_of[source.step] != self._memory_of.get(step):
                break
            chain.append(step)
            step = source.step
        return chain[::-1], step

    def overwritten(self, tensor: Tensor, step: int, by: str, root: int | None) -> None:
        """`step`, called `by`, holds what is now in `tensor`, or in its whole memory.

        Args:
            root: the root whose place `step` takes; None where it holds `tensor` alone, which is
                then the only one of this memory that can still be read.
        """
        memory = _memory(tensor)
        self._on_meta.pop(id(tensor), None)
        self._writes[memory] = self._writes.get(memory, 0) + 1
        self._writer[memory] = by
        self._roots[memory] = step
        self._memory_of[step] = memory
        if root is None:
            self.enter(tensor, step)
        else:
            self._followed_by[root] = step

    def one_of(self, written: list[Tensor], places: Sequence[Any]) -> list[Tensor]:
        """The one tensor that an operation wrote into, where the others are views of its memory.

        Views count each other's writes: `y[:, ::2] += 1` sets a part of `y` to a view of `y`.

        Args:
            written: all that count more writes than before.
            places: arguments that an operation may write into, the likeliest first.
        """
        target = next((one for one in places if any(one is tensor for tensor in written)), None)
        alike = target is not None and len({_memory(tensor) for tensor in written}) == 1
        return [target] if alike and target is not None else written

    def movable(self, value: Any) -> Any:
        """`value` fit for execution: beside a tensor without numbers none may have any."""
        on_meta = {tensor.is_meta for tensor in tensors(value)}
        return map_leaves(value, self._without_numbers) if len(on_meta) == 2 else value

    def _without_numbers(self, leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.is_meta:
            return leaf
        if id(leaf) not in self._on_meta:
            self._kept[id(leaf)] = leaf
            self._on_meta[id(leaf)] = without_numbers(leaf)
        return self._on_meta[id(leaf)]


def _memory(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():  # a network that asks for one is refused
        return tensor.untyped_storage()._cdata


def moved(call: Call, source: int) -> Call:
    """`call` with the result of another step as its first argument."""
    return replace(call, args=(Ref(source), *call.args[1:]))
