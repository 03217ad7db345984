"""`len` and `range` of the thread that traces a network keep the batch size; of others, nothing."""

from __future__ import annotations

import builtins
import copyreg
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from torch import Tensor

from splitlab.split.limits.batch_size import refuse_following

ONE_TRACE = threading.RLock()
"""Held while a network is traced: what is changed for it (`len`, `range`, torch's fused attention
and random numbers) belongs to the whole process, and is put back by who changed it. A thread that
traces may trace again inside.
"""


class _Traces(threading.local):
    """How many traces of this very thread watch at the moment."""

    open = 0


_mine = _Traces()


@contextmanager
def watched_builtins() -> Iterator[None]:
    """In this thread `len` of a tensor keeps a `BatchInt`, and `range` refuses to follow one.

    Python has one `len` and one `range` for all threads, so others call ours as well. There they
    do what they did: a `range` that is made is Python's own, `isinstance`, `issubclass`, `==` and
    `hash` take ours for it, and pickles name it. Only `type(range(3)) is range` differs.
    """
    with ONE_TRACE, nullcontext() if _mine.open else _changed_builtins():
        _mine.open += 1
        try:
            yield
        finally:
            _mine.open -= 1


@contextmanager
def _changed_builtins() -> Iterator[None]:
    length, numbers = builtins.len, builtins.range
    pickled = copyreg.dispatch_table.get(numbers)
    ours = _watched_range(numbers)
    try:
        # pickle looks a class up by its name and asks whether it is the very same one.
        copyreg.pickle(numbers, lambda given: (ours, (given.start, given.stop, given.step)))
        builtins.len, builtins.range = _watched_len(length), ours  # type: ignore[misc]
        yield
    finally:
        builtins.len, builtins.range = length, numbers  # type: ignore[misc]
        copyreg.dispatch_table.pop(numbers)
        if pickled is not None:
            copyreg.pickle(numbers, pickled)


def _watched_len(length: Any) -> Any:
    def watched_len(thing: Any, /) -> int:
        if _mine.open and isinstance(thing, Tensor) and thing.dim():
            given: int = thing.shape[0]
            return given
        counted: int = length(thing)
        return counted

    return watched_len


def _watched_range(numbers: Any) -> Any:
    class Meta(type):
        def __call__(cls, *limits: Any) -> Any:
            if _mine.open:
                refuse_following(
                    lambda *values: numbers(*values).__len__(), limits, "loops over the batch"
                )
            return numbers(*limits)

        def __getattr__(cls, name: str) -> Any:
            return getattr(numbers, name)

        def __instancecheck__(cls, thing: Any) -> bool:
            return isinstance(thing, numbers)

        def __subclasscheck__(cls, kind: type) -> bool:
            return kind is cls or issubclass(kind, numbers)

        def __eq__(cls, other: object) -> bool:
            return other is cls or other == numbers

        def __hash__(cls) -> int:
            return hash(numbers)

        def __repr__(cls) -> str:
            return repr(numbers)

    named = {"__module__": "builtins", "__qualname__": "range", "__doc__": numbers.__doc__}
    return Meta("range", (), named)
