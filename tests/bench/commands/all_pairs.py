"""Rows that hold every pair of values of any two factors at least once; greedy and deterministic.

What cannot be together is told by `possible`, which is asked about whole rows alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
Pair = tuple[tuple[str, Hashable], tuple[str, Hashable]]


def product(
    factors: Mapping[str, Sequence[Hashable]], possible: Callable[[Row], bool]
) -> Iterator[Row]:
    """Every possible row, the last factor changing fastest."""
    for values in itertools.product(*factors.values()):
        row = dict(zip(factors, values, strict=True))
        if possible(row):
            yield row


def pairs(row: Mapping[str, Hashable]) -> set[Pair]:
    """Any two factors of a row with their values, in the order of the factors."""
    return set(itertools.combinations(row.items(), 2))


def all_pairs(
    factors: Mapping[str, Sequence[Hashable]],
    possible: Callable[[Row], bool] = lambda _: True,
    cost: Callable[[Row], float] = lambda _: 1.0,
) -> list[Row]:
    """Few and cheap rows in which every pair of a possible row occurs.

    Always next is the row with the most new pairs for its cost; of equals, the first one. A row
    all of whose pairs others hold is dropped again, the dearest first.
    """
    rows = [(pairs(row), cost(row), row) for row in product(factors, possible)]
    missing: set[Pair] = set().union(*(held for held, _, _ in rows))
    chosen: list[tuple[set[Pair], float, Row]] = []
    while missing:
        best = max(rows, key=lambda each: len(each[0] & missing) / each[1])
        chosen.append(best)
        missing -= best[0]
    for row in sorted(chosen, key=lambda each: -each[1]):
        others = [held for held, _, one in chosen if one is not row[2]]
        if row[0] <= set().union(*others):
            chosen = [one for one in chosen if one[2] is not row[2]]
    return [row for _, _, row in chosen]
