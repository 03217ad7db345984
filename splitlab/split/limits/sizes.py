"""What a network asks of the shapes of its tensors, answered so that the batch size stays known."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from torch import Size, Tensor

from splitlab.errors import NotCuttable
from splitlab.split.limits.batch_size import MOST, AtSizes, batch_number
from splitlab.split.trace.tape import Tape
from splitlab.split.trace.tree import Shape

_NUMBERS = frozenset({"numel", "nelement"})
_STORAGES = frozenset({"untyped_storage", "storage", "_typed_storage", "data_ptr"})
_READS = frozenset({"size", "__len__"}) | _NUMBERS
_DIVIDES = frozenset(
    {"split", "split_with_sizes", "chunk", "tensor_split", "unbind", "vsplit"}
    | {"unsafe_split", "unsafe_chunk", "unsafe_split_with_sizes"}
)


def reads_shape(func: Any) -> bool:
    """Whether `func` tells Python a shape or a part of one."""
    name = func.__name__
    return name in _READS | _STORAGES or (
        name == "__get__" and (func.__self__ is Tensor.shape or _is_bytes(func))
    )


def _is_bytes(func: Any) -> bool:
    """Whether `func` reads `Tensor.nbytes`."""
    return getattr(func, "__self__", None) is Tensor.nbytes


class Sizes:
    """Shapes of a second tape beside those of the first.

    Args:
        earlier: the tape of the first run, at another batch size; None is that run itself, whose
            shapes are plain.
        batches: of the first run and of this one.
    """

    def __init__(self, earlier: Tape | None, batches: tuple[int, int]) -> None:
        self.earlier, self.batches = earlier, batches

    def factors(self, step: int | None, tensor: Tensor) -> list[int | None] | None:
        """How often the batch each dimension is; None where none is or nothing is known."""
        if self.earlier is None or step is None or step >= len(self.earlier.steps):
            return None
        old = self.earlier.steps[step].value
        if not isinstance(old, Shape) or len(old.shape) != tensor.dim():
            return None
        found = factors_of(old.shape, tuple(tensor.shape), self.batches)
        return found if any(factor is not None for factor in found) else None

    def answer(self, func: Any, args: Any, kwargs: Any, factors: Any, where: str) -> Any:
        """What `func` gave, with the batch marked in it."""
        shape = batch_shape(Size(args[0].shape), factors, where)
        name = func.__name__
        if name == "__len__":
            return shape[0]
        if name in _STORAGES:
            raise NotCuttable(
                f"{where or 'the network'}: it asks for the storage of a tensor ({name}), whose "
                "size follows the batch; such a network cannot be cut"
            )
        if name == "__get__" and _is_bytes(func):
            return batch_product(args[0].shape, factors, where) * args[0].element_size()
        if name in _NUMBERS:
            return batch_product(args[0].shape, factors, where)
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return shape if dim is None else shape[dim]

    def refuse_dividing(self, func: Any, args: Any, kwargs: Any, factors: Any, where: str) -> None:
        """
        Raises:
            NotCuttable: `func` takes the batch apart, into a number of pieces that follows it.
        """
        name = func.__name__
        if name not in _DIVIDES:
            return
        place = 1 if name == "unbind" else 2
        dim = kwargs.get("dim", args[place] if len(args) > place else 0)
        if factors[dim] is not None:
            raise NotCuttable(
                f"{where or 'the network'}: {name} takes the batch apart, and other batches fall "
                "into other pieces; such a network cannot be cut"
            )


def batch_shape(shape: Size, factors: Sequence[int | None], where: str) -> Size:
    """`shape` with every dimension of `factor` times the batch as a `BatchInt`."""
    pairs = zip(shape, factors, strict=True)
    return Size([n if k is None else _multiple(n, k, where) for n, k in pairs])


def batch_product(shape: Size, factors: Sequence[int | None], where: str) -> int:
    """The number of elements of a tensor of such a shape."""
    given: int = functools.reduce(operator.mul, batch_shape(shape, factors, where), 1)
    return given


def factors_of(
    one: Sequence[int], two: Sequence[int], batches: tuple[int, int]
) -> list[int | None]:
    """How often the batch each dimension is, from a shape at two batch sizes; None: not at all."""
    found: list[int | None] = []
    for first, second in zip(one, two, strict=True):
        factor, rest = divmod(first, batches[0])
        grows = first != second and rest == 0 and factor * batches[1] == second
        found.append(factor if grows else None)
    return found


def _multiple(value: int, factor: int, where: str) -> Any:
    said = "n" if factor == 1 else f"{factor}n"
    return batch_number(value, AtSizes(range(factor, factor * MOST + 1, factor)), where, said)
