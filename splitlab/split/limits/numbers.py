"""Which steps depend on the image or on random numbers; Python must learn none of their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from splitlab.errors import NotCuttable
from splitlab.split.trace.calls import Call
from splitlab.split.trace.macs import MacCounter
from splitlab.split.trace.tree import Shape

# How numbers leave a tensor for Python.
_READS = frozenset(
    {"item", "tolist", "numpy", "equal", "allclose", "is_nonzero", "__array__", "__contains__"}
    | {"__bool__", "__int__", "__float__", "__index__", "__complex__", "__dlpack__"}
)


class Numbers:
    """Args:
    counter: active while the network runs.

    Attributes:
        depends: of each step, whether its numbers depend on the image.
    """

    def __init__(self, counter: MacCounter) -> None:
        self.counter = counter
        self.depends: list[bool] = []
        self._random: list[bool] = []
        self._ragged: list[bool] = []
        self._seen = (counter.draws, counter.ragged)
        self._seed = torch.initial_seed()

    def add(self, call: Call, sources: list[int], value: Any) -> None:
        """The next step was written down; what ran since the last one belongs to it."""
        draws, ragged = self.counter.draws, self.counter.ragged
        dims = not isinstance(value, Shape) or len(value.shape) > 0
        self.depends.append(call.op == "input" or any(self.depends[i] for i in sources))
        self._random.append(draws > self._seen[0] or any(self._random[i] for i in sources))
        one = ragged > self._seen[1] or any(self._ragged[i] for i in sources)
        self._ragged.append(one and dims)
        self._seen = (draws, ragged)

    def refuse_reading(self, func: Any, read: list[int], where: str) -> None:
        """What Python learns from the image or from chance cannot be on a tape.

        Raises:
            NotCuttable: `func` tells Python numbers of the steps that are read.
        """
        if func.__name__ not in _READS:
            return
        if any(self.depends[step] for step in read):
            raise NotCuttable(
                f"{where or 'the network'}: its course depends on numbers, not only on shapes"
            )
        if any(self._random[step] for step in read):
            raise NotCuttable(f"{where or 'the network'}: its course depends on random numbers")

    def refuse_ragged(self, step: int, where: str) -> None:
        """
        Raises:
            NotCuttable: the shape of the step hangs on numbers of the image.
        """
        if self._ragged[step] and (self.depends[step] or self._random[step]):
            raise NotCuttable(
                f"{where or 'the network'}: its course depends on numbers, not only on shapes (it "
                "asks for a shape that hangs on them)"
            )

    @contextmanager
    def watched(self, where: str) -> Iterator[None]:
        """Around an operation.

        Raises:
            NotCuttable: it draws random numbers after the network has set a seed.
        """
        draws = self.counter.draws
        yield
        if self.counter.draws > draws and torch.initial_seed() != self._seed:
            raise NotCuttable(
                f"{where or 'the network'}: it sets the seed of torch's random numbers and draws "
                "some, which a part would draw otherwise; keep them in a buffer"
            )
