"""Who is asked when, what the machine did meanwhile, and the chart of it; nothing is timed."""

from __future__ import annotations

import os

import pytest
from latencies import latency
from records import record

from bench.latency.chart import STAGE_COLOURS, height, stages_of
from bench.latency.load import LoadMeter, busy_ticks, others_share, process_ticks
from bench.latency.turns import IMAGES, REQUESTS, Taken, order, summed, visit
from bench.sweep.plots import sweep_figure
from edge_client.stages import STAGES
from splitlab.record import joined


def test_every_round_visits_every_place_and_every_second_one_goes_backwards():
    assert list(order(["a", "b", "c"], at_once=2, rounds=2)) == [
        ["a", "b"],
        ["c"],
        ["c"],
        ["b", "a"],
    ]


def test_a_busy_minute_meets_all_places():
    """A slow second round makes every place slow in its second round, and none elsewhere."""
    taken = {name: Taken() for name in ("a", "b")}
    for turn, group in enumerate(order(["a", "b"], at_once=9, rounds=3)):
        for name in group:
            visit(name, [LOSSY], answering(300.0 if turn == 1 else 100.0), taken[name])
    found = {name: summed("d", [LOSSY], own) for name, own in taken.items()}
    for one in found.values():
        assert one.rounds == (100.0, 300.0, 100.0)
        assert one.link_rounds[LOSSY] == (100.0, 300.0, 100.0)
        assert one.stages["total"]["p50"] == 100.0
        assert one.stages["total"]["count"] == 3 * REQUESTS
        assert one.links[LOSSY]["mean"] > 100.0


def answering(ms):
    """A client that takes so long, and twice as long the first time; it counts images."""
    asked = []

    def ask(name, link, images):
        asked.append(name)
        assert images == (1 if link else IMAGES)
        spent = 2 * ms if len(asked) == 1 else ms
        return {
            "ms": {"head": spent / 4, "bodies": 3 * spent / 4, "total": spent},
            "framed_up": 4000,
            "framed_down": 100,
        }

    return ask


LOSSY = "rtt=50ms,up=10mbps,down=40mbps,loss=1%"
STAT = """cpu  900 0 0 900 0 0 0 0 0 0
cpu0 100 1 10 500 50 2 3 4 0 0
cpu1 200 0 0 500 50 0 0 0 7 0
cpu2 400 0 0 500 50 0 0 0 0 0
intr 1 2 3
"""


def test_busy_is_all_but_idle_and_waiting_of_the_cores_at_hand():
    assert busy_ticks(STAT, (0, 1)) == 100 + 1 + 10 + 2 + 3 + 4 + 200
    assert process_ticks("7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 70 30 1 1 20") == 100


def test_others_have_what_is_left():
    assert others_share(busy_s=15.0, own_s=9.0, cores=2, wall_s=10.0) == pytest.approx(0.3)
    assert others_share(busy_s=5.0, own_s=9.0, cores=2, wall_s=10.0) == 0.0
    assert others_share(busy_s=1.0, own_s=0.0, cores=2, wall_s=0.0) == 0.0


def test_a_meter_knows_or_says_that_it_does_not(monkeypatch):
    meter = LoadMeter()
    with meter.watch([os.getpid()]):
        sum(range(1000))
    assert meter.seconds >= 0
    assert meter.others is None or 0 <= meter.others <= 1
    monkeypatch.setattr(meter, "_ticks", lambda _: None)
    with meter.watch([]):
        pass
    assert meter.others is None


def test_every_stage_has_a_colour_that_the_colour_blind_can_tell_from_the_others():
    assert set(STAGE_COLOURS) == set(STAGES)
    for matrix in SIGHTS.values():
        seen = [_seen(colour, matrix) for colour in STAGE_COLOURS.values()]
        for place, one in enumerate(seen):
            for other in seen[:place]:
                assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) > 0.003


SIGHTS = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    # Machado, Oliveira and Fernandes 2009, severity 1
    "protan": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deutan": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
}


def _seen(colour, matrix):
    """A colour as someone sees it, each channel 0 to 1."""
    rgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [sum(row[i] * rgb[i] for i in range(3)) for row in matrix]


def test_the_chart_names_every_stage_and_the_images_of_a_request():
    stages = {stage: {"p50": 1.0, "p95": 2.0, "count": 4, "part": 0.5} for stage in STAGES}
    first = record("conv1").model_copy(update={"latency": {"total": {"p50": 5.5, "p95": 6.0}}})
    second = record("fc").model_copy(update={"latency": {**stages, "link lte": {"p50": 9.0}}})
    assert stages_of([first, second]) == list(STAGES)
    drawn = sweep_figure([first, second])
    for stage in STAGES:
        assert STAGE_COLOURS[stage] in drawn, stage
        assert f">{stage}<" in drawn, stage
    assert "request of 8 images" in drawn


def test_bars_are_as_high_as_the_total():
    (one,) = joined([record("conv1")], [latency({"conv1": [40.0]})])
    assert sum(height(one, stage) for stage in stages_of([one])) == one.latency["total"]["p50"]


def test_an_old_records_bars_are_what_they_were():
    old = record("conv1")
    assert height(old, "head") == 1.0
    assert "stages overlap" in sweep_figure([old])
