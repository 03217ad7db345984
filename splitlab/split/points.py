"""Split points as data: what one is, how one is found by name, how a few are chosen."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from splitlab.errors import BadInput, NotCuttable, UnknownName

Granularity = Literal["block", "operation"]


@dataclass(frozen=True)
class SplitPoint:
    """A place where exactly one tensor crosses.

    Args:
        name: path of the module, or of the operation, that makes the tensor.
        index: place among all operations at which the network can be cut; the same at either
            granularity, and larger is deeper.
        shape: of the tensor for one image, without the batch.
        bytes_per_image: payload in FP32, in bytes.
        head_params: parameters (numbers, without buffers) up to here.
        rest_params: parameters from here on; one that both sides use counts on both.
        head_macs: multiply-accumulates for one image up to here, as `MacCounter` counts them.
        rest_macs: the same from here on.
        aliases: other modules and operations that end at the same tensor.
        kind: "block" where a named block ends here, else "operation".
    """

    name: str
    index: int
    shape: tuple[int, ...]
    bytes_per_image: int
    head_params: int
    rest_params: int
    head_macs: int
    rest_macs: int
    aliases: tuple[str, ...]
    kind: Granularity


class SplitPoints(list[SplitPoint]):
    """The points of one network in graph order.

    Args:
        points: those that were asked for.
        every: all of them, operations too, by name and alias.
        refused: why the network cannot be cut at a place that it has, by name.
    """

    def __init__(
        self,
        points: Sequence[SplitPoint],
        every: Mapping[str, SplitPoint],
        refused: Mapping[str, str],
    ) -> None:
        super().__init__(points)
        self.every, self.refused = every, refused


def find_point(points: Sequence[SplitPoint], name: str) -> SplitPoint:
    """The point called `name`, or an alias of it; in `SplitPoints` operations are found as well.

    Raises:
        NotCuttable: the network has such a place, but no single tensor crosses there.
        UnknownName: it has no such place; lists the nearest names.
    """
    known = {alias: point for point in points for alias in point.aliases}
    known |= {point.name: point for point in points}
    if isinstance(points, SplitPoints):
        if name in points.refused:
            shown = f"split point {name!r}: {points.refused[name]}"
            if not points.every:
                raise NotCuttable(f"{shown}; {_nowhere(points)}")
            names = list(known or points.every)
            near = ", ".join(difflib.get_close_matches(name, names, n=3, cutoff=0.0))
            raise NotCuttable(f"{shown}; choose a split point, e.g. {near}")
        if not points.every:
            raise NotCuttable(f"split point {name!r}: {_nowhere(points)}")
        known = {**points.every, **known}
    if name not in known:
        raise UnknownName("split point", name, known)
    return known[name]


def _nowhere(points: SplitPoints) -> str:
    """Why a network cannot be cut at all: what most of its places have in common."""
    reasons = Counter(points.refused.values()).most_common(1)
    why = f"; at most places {reasons[0][0]}" if reasons else ", and has one operation at most"
    return f"this network cannot be cut at any place{why}"


def spread(points: Sequence[SplitPoint], k: int) -> list[SplitPoint]:
    """`k` points evenly over the list, the first and the last among them; all where k is larger.

    Raises:
        BadInput: k below 1.
    """
    if k < 1:
        raise BadInput(f"{k} split points: give at least 1")
    if k >= len(points):
        return list(points)
    if k == 1:
        return [points[len(points) // 2]]
    return [points[round(i * (len(points) - 1) / (k - 1))] for i in range(k)]
