"""The Pareto front: what is beaten clearly is left out, and noise beats nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from records import over, record

from bench.sweep import front
from bench.sweep.front import FRONT_RULE, beats, pareto_front
from bench.sweep.recommend import Candidate, Leak, places
from bench.sweep.table import sweep_table
from splitlab.metrics.image.psnr import METRIC as PSNR

RELU = Candidate(
    "relu", 2, (Leak(PSNR, 38.6, 12.7, "decoder"),), 80.5, 0.01, 65536, {"lte": 118.55}
)


def other(place, psnr=None, interval=None, **more):
    """The same place but for this."""
    leak = place.leak
    leak = replace(leak, value=leak.value if psnr is None else psnr)
    return replace(place, leaks=(replace(leak, interval=interval or leak.interval),), **more)


def test_the_pareto_front_leaves_out_what_another_place_beats_in_all():
    together = [
        over({"lte": 400.0}, split="conv1", psnr=25),
        over({"lte": 300.0}, split="layer1", psnr=20),  # leaks less, sends less, is faster
        over({"lte": 500.0}, split="layer2", psnr=15),  # slower, and leaks less
        over({"lte": 300.0}, split="fc", psnr=20, accuracy=90),
    ]
    assert pareto_front(together) == {"layer2", "fc"}
    table = sweep_table(together, "layer2")
    assert table.columns[-2:] == ("lte, p50 [ms]", "Pareto front")
    ends = {row.cells[0].text: [cell.text for cell in row.cells[-2:]] for row in table.rows}
    assert ends["conv1"] == ["400", ""]
    assert ends["layer2"] == ["500", "yes"]
    assert "Pareto" not in " ".join(sweep_table([record()], None).columns)


def test_a_latency_within_its_noise_does_not_save_what_leaks_far_more():
    conv1 = other(RELU, split="conv1", psnr=55.5, links={"lte": 118.40})
    assert beats(RELU, conv1)
    assert not beats(conv1, RELU)
    assert not beats(RELU, other(conv1, links={"lte": 112.0}))


@pytest.mark.parametrize(
    ("noise", "clear"),
    [
        ({"psnr": 38.8}, {"psnr": 38.9}),
        (
            {"psnr": 41.0, "interval": (38.5, 43.5)},
            {"psnr": 41.0, "interval": (38.7, 43.5)},
        ),
        ({"accuracy": 77.1, "victims": 128}, {"accuracy": 76.7, "victims": 128}),
        ({"accuracy": 80.2, "victims": 10000}, {"accuracy": 80.0, "victims": 10000}),
        ({"links": {"lte": 124.0}}, {"links": {"lte": 125.0}}),
        ({"payload": 65536}, {"payload": 65537}),
    ],
)
def test_only_what_is_clear_counts(noise, clear):
    one = other(RELU, victims=noise.get("victims", 0))
    assert not beats(one, other(one, **noise))
    assert beats(one, other(one, **clear))
    assert not beats(other(one, **clear), one)


def test_where_everything_is_right_one_image_more_is_not_clear():
    one = other(RELU, accuracy=100.0, victims=100)
    assert not beats(one, other(one, accuracy=99.0))
    assert beats(one, other(one, accuracy=95.0))


def test_a_mean_that_lies_in_the_other_s_interval_is_no_less_leakage():
    """Whichever of the two has the wide one."""
    wide = other(RELU, psnr=36.0, interval=(33.0, 39.0))
    assert not beats(wide, other(RELU, interval=(38.0, 39.2)))
    assert beats(other(wide, interval=(33.0, 38.5)), other(RELU, interval=(38.0, 39.2)))


def small(links, **more):
    """Without the room that intervals leave."""
    made = over(links, **more)
    leak = made.leakage["psnr"].model_copy(update={"low": None, "high": None})
    rate = {**made.rate, "payload_up": 1000.0}
    return made.model_copy(update={"leakage": {"psnr": leak}, "rate": rate})


def test_a_circle_of_places_does_not_remove_itself():
    """Each is 6 % quicker over one link than the next, and 3 % slower over the two others."""
    steps = 100.0, 103.0, 106.2
    circle = [
        small(dict(zip("abc", steps[turn:] + steps[:turn], strict=True)), split=name)
        for turn, name in enumerate(("conv1", "layer1", "layer2"))
    ]
    ring = {one.split: one for one in places(circle)}
    wins = {(a, b) for a, b in itertools.permutations(ring, 2) if beats(ring[a], ring[b])}
    assert len(wins) == 3
    assert pareto_front(circle) == {"conv1", "layer1", "layer2"}
    slow = small(dict.fromkeys("abc", 120.0), split="fc")
    assert pareto_front([*circle, slow]) == {"conv1", "layer1", "layer2"}
    best = small(dict.fromkeys("abc", 90.0), split="fc")
    assert pareto_front([*circle, best]) == {"fc"}


def test_what_only_a_beaten_place_beats_stays():
    """layer1 beats layer2, conv1 beats layer1, and over c layer2 is clearly quicker than conv1."""
    chain = [
        small({"a": 100.0, "b": 100.0, "c": 106.2}, split="conv1"),
        small({"a": 110.0, "b": 100.0, "c": 103.0}, split="layer1"),
        small({"a": 110.0, "b": 110.0, "c": 100.0}, split="layer2"),
    ]
    one, two, three = places(chain)
    assert beats(one, two)
    assert beats(two, three)
    assert not beats(one, three)
    assert pareto_front(chain) == {"conv1", "layer2"}


def test_the_order_of_records_changes_nothing_and_somebody_is_always_left():
    values = (100.0, 104.0, 108.0)
    grid = [
        small({"a": a, "b": b}, split=name, psnr=psnr)
        for name, (a, b, psnr) in zip(
            ("conv1", "layer1", "layer2", "fc"),
            [(*values[:2], 20.0), (104.0, 100.0, 20.2), (108.0, 104.0, 19.9), (*values[1:], 20.1)],
            strict=True,
        )
    ]
    found = {pareto_front(some) for some in itertools.permutations(grid)}
    assert len(found) == 1
    assert found.pop()
    assert pareto_front([]) == frozenset()


def test_the_report_says_the_rule():
    assert "5 %" in FRONT_RULE
    assert sweep_table([over({"lte": 400.0})], None).note.endswith(FRONT_RULE)
    assert f"{100 * front.LATENCY_SHARE:g} %" in FRONT_RULE
