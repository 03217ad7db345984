"""Rows of all pairs: each pair that can be is there, none that cannot, and always the same rows."""

import itertools

import pytest
import rows
from all_pairs import all_pairs
from test_defences_on_networks import FACTORS, ROWS

from defenses import DEFENSES


def held(found):
    """Pairs of (factor, value), by loops that know nothing of how the rows were made."""
    names = sorted(FACTORS)
    return {
        ((one, row[one]), (two, row[two]))
        for row in found
        for one, two in itertools.combinations(names, 2)
    }


def test_every_pair_that_can_be_is_tried():
    whole = [dict(zip(FACTORS, v, strict=True)) for v in itertools.product(*FACTORS.values())]
    possible = [row for row in whole if rows.possible(row)]
    assert held(ROWS) == held(possible)
    assert all(row in possible for row in ROWS)
    assert len(ROWS) < len(possible) / 20


def test_the_pairs_that_are_asked_for_by_name():
    """Each defence with each network, command, wire, tail and attack; two have to have a tail."""
    pairs = held(ROWS)
    for defence in FACTORS["defence"]:
        for factor in ("network", "command", "wire", "attack"):
            for value in FACTORS[factor]:
                assert tuple(sorted([("defence", defence), (factor, value)])) in pairs
        for tail in (False, True) if defence not in rows.AFTER_BODIES else (True,):
            assert (("defence", defence), ("tail", tail)) in pairs


def test_no_defence_is_left_out():
    tried = {part.partition(":")[0] for name in FACTORS["defence"] for part in name.split("+")}
    assert tried == set(DEFENSES)


def test_the_same_rows_each_time():
    assert all_pairs(FACTORS, rows.possible) == ROWS


@pytest.mark.parametrize("levels", [(2, 2), (2, 2, 2), (3, 4, 2), (5, 4, 3, 2)])
def test_few_rows_hold_all_pairs(levels):
    """Two factors are their product; more take little more than the two largest."""
    factors = {str(n): tuple(range(count)) for n, count in enumerate(levels)}
    found = all_pairs(factors)
    for (one, a), (two, b) in itertools.combinations(factors.items(), 2):
        assert {(row[one], row[two]) for row in found} == set(itertools.product(a, b))
    largest = sorted(levels)[-2:]
    assert largest[0] * largest[1] <= len(found) <= largest[0] * largest[1] + 3
