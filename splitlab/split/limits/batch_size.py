"""The batch size as an int that remembers what it is, so that a course that follows it is seen."""

from __future__ import annotations

import builtins
import functools
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Size, Tensor

from splitlab.errors import NotCuttable
from splitlab.split.tree import leaves

MOST = 1024
"""The largest batch for which a comparison must come out the same; no micro-batch is larger."""

Of = Callable[[int], Any]


class _Sized:
    """A number that is `of(n)` for a batch of n images; what is computed from it is one too."""

    of: Of
    where: str

    def __bool__(self) -> bool:
        return bool(_same(self, lambda n: bool(self.of(n)), "asks whether the batch size is 0"))

    def __hash__(self) -> int:
        return hash(plain_number(self))


class BatchInt(_Sized, int):
    """An int that grows with the batch."""


class BatchFloat(_Sized, float):
    """A float that grows with the batch."""


def batch_number(value: Any, of: Of, where: str) -> Any:
    """`value`, which is `of(n)` for n images, so that comparisons of it are noticed.

    Args:
        where: the module that asked for it, for messages.
    """
    kinds: dict[type, Any] = {int: BatchInt, float: BatchFloat, BatchInt: BatchInt}
    kind = kinds.get(type(value))
    if kind is None:
        return value
    made = kind(value)
    made.of, made.where = of, where
    return made


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


def has_batch(value: Any) -> bool:
    """Whether a number in `value` grows with the batch."""
    return any(isinstance(leaf, _Sized) for leaf in leaves(value))


def plain_number(leaf: Any) -> Any:
    """`leaf` as an ordinary int or float, if it is one of these."""
    if isinstance(leaf, BatchInt):
        return int(leaf)
    return float(leaf) if isinstance(leaf, BatchFloat) else leaf


@contextmanager
def watched_builtins() -> Iterator[None]:
    """`len` of a tensor keeps a `BatchInt`, and `range` notices one; others see no change."""
    length, numbers = builtins.len, builtins.range

    def watched_len(thing: Any) -> int:
        if isinstance(thing, Tensor) and thing.dim():
            given: int = thing.shape[0]
            return given
        return length(thing)

    class Meta(type):
        def __call__(cls, *limits: Any) -> Any:
            sized = next((one for one in limits if isinstance(one, _Sized)), None)
            if sized is not None:
                _same(sized, lambda n: length(numbers(*_at(limits, n))), "loops over the batch")
            return numbers(*limits)

        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, numbers)

    class Watched(metaclass=Meta):
        pass

    builtins.len, builtins.range = watched_len, Watched  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        builtins.len, builtins.range = length, numbers  # type: ignore[misc]


def _multiple(value: int, factor: int, where: str) -> Any:
    return batch_number(value, lambda n: n * factor, where)


def _at(given: Sequence[Any], n: int) -> list[Any]:
    return [one.of(n) if isinstance(one, _Sized) else one for one in given]


def _same(number: _Sized, answer: Of, what: str) -> Any:
    """The answer, which is the same for every batch.

    Raises:
        NotCuttable: it is not.
    """
    answers = {repr(_tried(answer, n)) for n in _BATCHES}
    if len(answers) > 1:
        raise NotCuttable(
            f"{number.where or 'the network'}: it {what} and takes another course for other batch "
            "sizes; such a network cannot be cut"
        )
    return answer(1)


_BATCHES = range(1, MOST + 1)


def _tried(function: Of, n: int) -> Any:
    try:
        return function(n)
    except (ArithmeticError, ValueError, TypeError) as error:
        return type(error)


def _computes(name: str, function: Callable[..., Any]) -> Any:
    kept = {kind: getattr(kind, name) for kind in (int, float) if hasattr(kind, name)}

    def compute(self: Any, *others: Any) -> Any:
        base = kept.get(int if isinstance(self, int) else float)
        value = NotImplemented if base is None else base(self, *others)
        if value is NotImplemented:
            return value

        def of(n: int) -> Any:
            return function(*_at((self, *others), n))

        return batch_number(value, of, self.where)

    return compute


def _compares(name: str, sign: str) -> Any:
    function = getattr(operator, name)

    def compare(self: Any, other: Any) -> Any:
        mine, theirs = plain_number(self), plain_number(other)
        if not isinstance(theirs, (int, float)):
            return NotImplemented
        same = name in ("eq", "ne") and mine == theirs and not isinstance(other, _Sized)
        # What lost its origin on the way, as through int(): a course that hangs on it shows,
        # since the other tape was made for another batch size.
        if not same:
            what = f"compares the batch size ({self.of(1)}n {sign} {theirs})"
            if isinstance(other, _Sized):
                what = f"compares two sizes of a batch ({sign})"
            _same(self, lambda n: function(*_at((self, other), n)), what)
        return function(mine, theirs)

    return compare


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda one, two: function(two, one)


for _core in ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow"):
    setattr(_Sized, f"__{_core}__", _computes(f"__{_core}__", getattr(operator, _core)))
    _swapped = _reflected(getattr(operator, _core))
    setattr(_Sized, f"__r{_core}__", _computes(f"__r{_core}__", _swapped))
_ALONE: dict[str, Callable[..., Any]] = {
    **{"neg": operator.neg, "abs": abs, "round": round},
    **{"ceil": math.ceil, "floor": math.floor},
}
for _core, _function in _ALONE.items():
    setattr(_Sized, f"__{_core}__", _computes(f"__{_core}__", _function))
for _core, _sign in (
    *(("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<=")),
    *(("gt", ">"), ("ge", ">=")),
):
    setattr(_Sized, f"__{_core}__", _compares(_core, _sign))
