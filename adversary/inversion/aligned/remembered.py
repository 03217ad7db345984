"""Remember the last few results of a costly pure function, by a hash of its arguments."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """One adversary attacks many deployments and one capture in many ways: what depends on
    neither is worked out once. The results are the same as without it.

    Args:
        most: results kept; the oldest goes first.
    """

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The result under `key`, which must name every argument that `make` depends on."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return self._kept[key]
