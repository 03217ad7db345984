"""What losses add to a request: a mean over many, and what the report makes of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from records import record

from bench import link_runs
from bench.link_runs import DRAWS, _folder, link_latency, typical, with_losses
from bench.recipe import SweepConfig
from bench.recommend import places
from bench.table import sweep_table
from splitlab.contracts.link import LINKS, parse_link
from splitlab.storage import write_json

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


def test_a_links_losses_need_no_measuring_again(tmp_path: Path) -> None:
    """The lossless requests are kept; any loss is modelled on top of them."""
    rate = {"framed_up": float(UP), "framed_down": float(DOWN)}
    total = {"p50": 70.0, "p95": 80.0, "count": 8}
    write_json(
        _folder(tmp_path, "lte") / "evaluation.json", {"latency": {"total": total}, "rate": rate}
    )
    links = ("lte", LOSSY)
    config = SweepConfig.model_construct(links=links)
    found = link_latency(tmp_path, config, None, None)
    assert found["link lte"] == total
    assert found[f"link {LOSSY}"] == with_losses(parse_link(LOSSY), UP, DOWN, 70.0)
    assert typical(found["link lte"]) == ("p50", 70.0)
    assert typical(found[f"link {LOSSY}"])[0] == "mean"


def test_a_change_of_the_model_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _folder(tmp_path, "lte")
    monkeypatch.setattr(link_runs, "MODEL", link_runs.MODEL + 1)
    assert _folder(tmp_path, "lte") != before


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
