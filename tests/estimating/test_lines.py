"""From a sample to the whole: lines, loops, and split points between those that were measured."""

import pytest

from splitlab.estimating import Took, between, extended, on_a_line
from splitlab.training import Loop


def test_a_line_through_two_samples():
    assert on_a_line((2, 1.0), (4, 2.0), 100) == pytest.approx(50)
    assert on_a_line((2, 5.0), (4, 5.5), 10) == pytest.approx(7)
    assert on_a_line((2, 2.0), (4, 1.0), 100) == 1.0  # noise does not make more work take less
    assert on_a_line((4, 3.0), (4, 3.0), 100) == 3.0


def test_loops_grow_with_the_images_and_keep_what_a_unit_takes():
    few = Took(1.0, (Loop("train", 20, 9.0), Loop("choose", 50, 9.0)))
    more = Took(1.5, (Loop("train", 40, 0.1), Loop("choose", 50, 0.2)))
    rest, train, choose = 1.5 + 0.25 * 8, 120 * 0.1, 50 * 0.2
    assert extended((2, few), (4, more), 12) == pytest.approx(rest + train + choose)


def test_loops_of_one_name_are_counted_together():
    few = Took(0.0, (Loop("net", 10, 1.0), Loop("net", 10, 1.0)))
    more = Took(0.0, (Loop("net", 20, 1.0), Loop("net", 20, 3.0)))
    assert extended((1, few), (2, more), 4) == pytest.approx(80 * 2.0)


def test_a_known_total_stands_for_what_does_not_grow_in_proportion():
    few, more = Took(0.0, (Loop("train", 6, 1.0),)), Took(0.0, (Loop("train", 12, 0.5),))
    assert extended((2, few), (4, more), 1000, total=199) == pytest.approx(199 * 0.5)


def test_between_measured_points_it_is_interpolated():
    places = [between(9, n) for n in range(9)]
    assert [places[n] for n in (0, 4, 8)] == [(n, n, 0) for n in (0, 4, 8)]
    assert [places[1], places[7]] == [(0, 4, 0.25), (4, 8, 0.75)]
    assert between(1, 0) == (0, 0, 0)
    assert [between(3, n, 2) for n in range(3)] == [(0, 0, 0), (0, 2, 0.5), (2, 2, 0)]
