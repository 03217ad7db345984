"""The batch size as an int that remembers what it is, so that a course that follows it is seen."""

from __future__ import annotations

import contextlib
import math
import operator
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from splitlab.errors import NotCuttable
from splitlab.split.limits.texts import refuse_text
from splitlab.split.trace.tree import leaves

MOST = 1024
"""The largest batch for which a comparison must come out the same; no micro-batch is larger."""

_LONGEST = 60
"""Characters of what is shown of a computation."""
_FAILS = (ArithmeticError, ValueError, TypeError)


class AtSizes(NamedTuple):
    """What a number is for 1, 2 ... `MOST` images.

    Args:
        fails: whether some of the values are no numbers but kinds of errors.
    """

    values: Sequence[Any]
    fails: bool = False


class _Unhashable(NotCuttable, TypeError):
    """Also what Python says of keys that have no hash, for which libraries have another way."""


class _Lost(threading.local):
    """How often this thread has made a plain number of a size, which then cannot be seen."""

    count = 0


lost = _Lost()


class _Sized:
    """A number that follows the batch; what is computed from it is one too.

    Attributes:
        said: how it comes from the number of images n, for messages.
    """

    column: AtSizes
    where: str
    said: str

    def __int__(self) -> int:
        lost.count += 1
        return int(plain_number(self))

    def __float__(self) -> float:
        lost.count += 1
        return float(plain_number(self))

    def __repr__(self) -> str:
        refuse_text(self.where)
        return repr(plain_number(self))

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        refuse_text(self.where)
        return format(plain_number(self), spec)

    def __bool__(self) -> bool:
        refuse_following(bool, (self,), "asks whether the batch size is 0")
        return bool(plain_number(self))

    def is_integer(self) -> bool:
        refuse_following(_whole, (self,), "asks whether a part of the batch size is whole")
        return _whole(plain_number(self))

    def __hash__(self) -> int:
        if any(value != self.column.values[0] for value in self.column.values):
            raise _Unhashable(
                f"{self.where or 'the network'}: it looks something up by the batch size (in a "
                "set, dict or cache) and may take another course for other batch sizes; such a "
                "network cannot be cut"
            )
        return hash(plain_number(self))


class BatchInt(_Sized, int):
    """An int that grows with the batch."""


class BatchFloat(_Sized, float):
    """A float that grows with the batch."""


def batch_number(value: Any, column: AtSizes, where: str, said: str = "n") -> Any:
    """`value`, which follows the batch, so that comparisons of it are noticed.

    Args:
        column: what it is for each number of images.
        where: the module that asked for it, for messages.
        said: what it is of the number of images n, for messages.
    """
    kinds: dict[type, Any] = {int: BatchInt, float: BatchFloat, BatchInt: BatchInt}
    kind = kinds.get(type(value))
    if kind is None:
        return value
    made = kind(plain_number(value))
    made.column, made.where, made.said = column, where, said
    return made


def column(function: Callable[..., Any], given: Sequence[Any]) -> AtSizes:
    """`function` of `given` for each number of images; computed once, however it was come by."""
    columns = [one.column if isinstance(one, _Sized) else AtSizes([one] * MOST) for one in given]
    values = [one.values for one in columns]
    if not any(one.fails for one in columns):
        with contextlib.suppress(*_FAILS):
            return AtSizes(list(map(function, *values)))
    found = [_tried(function, row) for row in zip(*values, strict=True)]
    return AtSizes(found, any(isinstance(one, type) for one in found))


def has_batch(value: Any) -> bool:
    """Whether a number in `value` grows with the batch."""
    return any(isinstance(leaf, _Sized) for leaf in leaves(value))


def plain_number(leaf: Any) -> Any:
    """`leaf` as an ordinary int or float, if it is one of these."""
    if isinstance(leaf, BatchInt):
        return int.__pos__(leaf)
    return float.__pos__(leaf) if isinstance(leaf, BatchFloat) else leaf


def refuse_following(function: Callable[..., Any], given: Sequence[Any], what: str) -> None:
    """See to it that `function` answers the same for every batch.

    Args:
        given: what it is asked with; a number that grows with the batch is tried at every size.
        what: what the network does, for the message.

    Raises:
        NotCuttable: it does not.
    """
    number = next((one for one in given if isinstance(one, _Sized)), None)
    if number is None:
        return
    answers = column(function, given).values
    # Kinds count too: 1 == True == 1.0.
    if len(set(zip(map(type, answers), answers, strict=True))) > 1:
        raise NotCuttable(
            f"{number.where or 'the network'}: it {what} and takes another course for other batch "
            "sizes; such a network cannot be cut"
        )


def refuse_bent(number: Any, where: str) -> None:
    """
    Raises:
        NotCuttable: `number`, an argument of an operation, follows the batch and is no multiple of
            it: a whole-number division may be the same at the sizes that were followed.
    """
    if not isinstance(number, _Sized):
        return
    values = list(enumerate(number.column.values, 1))
    first = values[0][1]
    if all(value == first for _, value in values):
        return
    if not number.column.fails and all(value == first * images for images, value in values):
        return
    images, value = next(pair for pair in values if pair[1] != first)
    raise NotCuttable(
        f"{where}: an argument follows the batch size and is no multiple of it ({first!r} for "
        f"1 image, {value!r} for {images}); such a network cannot be cut"
    )


def _tried(function: Callable[..., Any], given: Sequence[Any]) -> Any:
    """The answer, or the kind of the error that it or something before it ended in."""
    failed = next((one for one in given if isinstance(one, type)), None)
    if failed is not None:
        return failed
    try:
        return function(*given)
    except _FAILS as error:
        return type(error)


def _computes(function: Callable[..., Any], sign: str, *, swapped: bool = False) -> Any:
    def compute(self: Any, *others: Any) -> Any:
        if not all(one is None or isinstance(one, (int, float)) for one in others):
            return NotImplemented
        given = (self, *others)
        value = function(*map(plain_number, given))
        if isinstance(value, tuple):  # of divmod
            parts = [column(_part(function, place), given) for place, _ in enumerate(value)]
            return tuple(
                batch_number(one, found, self.where, _said(name, given, swapped=False))
                for one, found, name in zip(value, parts, ("//", "%"), strict=True)
            )
        found = column(function, given)
        said = _multiple(found) or _said(sign, given, swapped=swapped)
        return batch_number(value, found, self.where, said)

    return compute


def _multiple(found: AtSizes) -> str | None:
    """`3n` for a number that is three times the batch, as far as a message needs to know."""
    if found.fails or not isinstance(found.values[0], int):
        return None
    factor, images = found.values[0], (2, 3, MOST)
    if any(found.values[count - 1] != factor * count for count in images):
        return None
    return "n" if factor == 1 else f"{factor}n"


def _said(sign: str, given: Sequence[Any], *, swapped: bool) -> str:
    """What is computed, in words that a reader of the network knows again."""
    words = [one.said if isinstance(one, _Sized) else str(one) for one in given]
    words = [f"({word})" if " " in word else word for word in words]
    if len(words) == 2 and not sign.isalpha():
        return f" {sign} ".join(reversed(words) if swapped else words)[:_LONGEST]
    return f"{sign}({', '.join(words)})"[:_LONGEST]


def _part(function: Callable[..., Any], place: int) -> Callable[..., Any]:
    return lambda *given: function(*given)[place]


def _compares(name: str, sign: str) -> Any:
    function = getattr(operator, name)

    def compare(self: Any, other: Any) -> Any:
        mine, theirs = plain_number(self), plain_number(other)
        if not isinstance(theirs, (int, float)):
            return NotImplemented
        lost = name in ("eq", "ne") and mine == theirs and not isinstance(other, _Sized)
        # What lost its origin on the way, as through int(): a course that hangs on it shows,
        # since the other tape was made for another batch size, unless both are the same there.
        if not (lost and self.column.values.count(theirs) == 1):
            what = f"compares the batch size ({self.said} {sign} {theirs}, n images)"
            if isinstance(other, _Sized):
                what = f"compares two sizes of a batch ({sign})"
            refuse_following(function, (self, other), what)
        return function(mine, theirs)

    return compare


def _whole(number: float) -> bool:
    return float(number).is_integer()


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda one, two: function(two, one)


_TWO: dict[str, tuple[Callable[..., Any], str]] = {
    **{"add": (operator.add, "+"), "sub": (operator.sub, "-"), "mul": (operator.mul, "*")},
    **{"truediv": (operator.truediv, "/"), "floordiv": (operator.floordiv, "//")},
    **{"mod": (operator.mod, "%"), "pow": (pow, "**"), "divmod": (divmod, "divmod")},
    **{"and": (operator.and_, "&"), "or": (operator.or_, "|"), "xor": (operator.xor, "^")},
    **{"lshift": (operator.lshift, "<<"), "rshift": (operator.rshift, ">>")},
}
for _core, (_function, _sign) in _TWO.items():
    setattr(_Sized, f"__{_core}__", _computes(_function, _sign))
    setattr(_Sized, f"__r{_core}__", _computes(_reflected(_function), _sign, swapped=True))
_ALONE: dict[str, Callable[..., Any]] = {
    **{"__neg__": operator.neg, "__invert__": operator.invert, "__abs__": abs},
    **{"__round__": round, "__ceil__": math.ceil, "__floor__": math.floor},
    **{"__trunc__": math.trunc, "bit_length": int.bit_length, "bit_count": int.bit_count},
}
for _core, _function in _ALONE.items():
    setattr(_Sized, _core, _computes(_function, _core.strip("_")))
for _core, _sign in (
    *(("eq", "=="), ("ne", "!="), ("lt", "<"), ("le", "<=")),
    *(("gt", ">"), ("ge", ">=")),
):
    setattr(_Sized, f"__{_core}__", _compares(_core, _sign))
