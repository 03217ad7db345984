"""What losses add to a request: a mean over many, and what the report makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from records import record

from bench.latency.link_runs import DRAWS, lossless, times_of, typical, with_losses
from bench.sweep.recommend import places
from bench.sweep.table import sweep_table
from splitlab.contracts.link import LINKS, parse_link

LOSSY = "rtt=50ms,up=10mbps,down=40mbps,loss=1%"
UP, DOWN = 16 << 10, 1000


def test_a_lone_packet_waits_for_the_timer_as_often_as_it_is_lost() -> None:
    """A request and an answer of one packet each: 1 % of either takes the timer's 0.2 s and 50 ms
    longer.
    """
    found = with_losses(parse_link(LOSSY), 100, 100, 55.0)
    assert found["count"] == DRAWS
    assert found["p50"] == pytest.approx(55.0, abs=0.1)
    assert found["mean"] == pytest.approx(55.0 + 2 * 0.01 * 250, rel=0.03)


def test_what_losses_cost_is_in_the_mean_and_not_in_the_median() -> None:
    still = with_losses(LINKS["lte"], UP, DOWN, 70.0)
    lossy = with_losses(replace(LINKS["lte"], loss=0.01), UP, DOWN, 70.0)
    assert still["mean"] == pytest.approx(70.0, rel=0.01)
    assert lossy["mean"] > 1.3 * still["mean"] > 1.3 * 0.99 * still["p50"]
    again = with_losses(replace(LINKS["lte"], loss=0.01), UP, DOWN, 70.0)
    assert again == lossy


def test_losses_are_modelled_on_top_of_what_was_measured_without() -> None:
    measured = [60.0, 70.0, 75.0]
    assert times_of("lte", measured, UP, DOWN)["p50"] == 70.0
    assert times_of(LOSSY, measured, UP, DOWN) == with_losses(parse_link(LOSSY), UP, DOWN, 70.0)
    assert lossless(LOSSY) == LOSSY.removesuffix(",loss=1%")
    assert typical(times_of("lte", measured, UP, DOWN)) == ("p50", 70.0)
    assert typical(times_of(LOSSY, measured, UP, DOWN))[0] == "mean"


def test_a_place_that_was_not_measured_leaves_its_cell_empty() -> None:
    """And hides no other's link, even where it comes first."""
    made = record(split="layer1", psnr=20)
    times = {"link lte": {"p50": 70.0, "p95": 80.0, "count": 8}}
    made = made.model_copy(update={"latency": times})
    table = sweep_table([record("conv1").model_copy(update={"latency": {}}), made], None)
    link, total = (table.columns.index(name) for name in ("lte, p50 [ms]", "p50 [ms]"))
    assert [row.cells[link].text for row in table.rows] == ["n/a", "70"]
    assert [row.cells[total].text for row in table.rows] == ["n/a", "n/a"]


def test_the_report_judges_by_the_mean_where_packets_are_lost() -> None:
    made = record(split="layer1", psnr=20)
    times = {
        "link lte": {"p50": 70.0, "p95": 80.0, "count": 8},
        f"link {LOSSY}": {"mean": 110.0, "p50": 71.0, "p95": 300.0, "count": DRAWS},
    }
    made = made.model_copy(update={"latency": {**made.latency, **times}})
    assert places([made])[0].links == {"lte": 70.0, LOSSY: 110.0}
    table = sweep_table([made], None)
    shown = dict(zip(table.columns, (cell.text for cell in table.rows[0].cells), strict=True))
    assert shown["lte, p50 [ms]"] == "70"
    assert shown[f"{LOSSY}, mean [ms]"] == "110"
