"""`bench perf link`: what it compares, and where it cannot be run."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.perf.serving import link
from bench.perf.serving.link import CASES, Case, agreement, perf_link, why_not
from bench.perf.serving.link_peer import ANSWER_BYTES
from edge_client.one_way import round_trips
from splitlab.contracts.link import LINKS, parse_link

FIVE_G = Case("5g", 64 << 10)


def test_a_link_without_losses_is_judged_by_its_median() -> None:
    told = round_trips(LINKS["5g"], FIVE_G.size, ANSWER_BYTES, 30)
    assert told[0] > 1.9 * told[1]  # three rounds at first, then one
    measured = [told[0], *told[1:-1], 9.0]  # and one that the machine held up
    found = agreement(FIVE_G, measured).as_dict()
    assert found["ok"]
    assert found["ratio"] == 1.0
    assert found["messages"] == 30
    assert found["measured_first_ms"] == found["predicted_first_ms"] == pytest.approx(64, abs=1)


def test_a_link_with_losses_is_judged_by_its_mean() -> None:
    case = replace(FIVE_G, link="rtt=20ms,up=50mbps,down=200mbps,loss=1%")
    told = round_trips(parse_link(case.link), case.size, ANSWER_BYTES, link.DRAWS)
    mean = sum(told) / len(told)
    assert agreement(case, [mean / 2, 1.5 * mean]).as_dict()["ok"]
    assert not agreement(case, [mean * 0.8] * 9).as_dict()["ok"]
    assert not agreement(case, [mean * 1.2] * 9).as_dict()["ok"]


def test_names_are_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES)


def test_it_says_why_it_cannot_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link.Path, "exists", lambda _: True)
    monkeypatch.setattr(link.shutil, "which", lambda _: "/sbin/ip")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = CliRunner().invoke(app, ["perf", "link"])
    assert done.exit_code == 2
    assert "network namespaces are root's to make" in done.output.replace("\n", " ")
    monkeypatch.setattr(link.shutil, "which", lambda _: None)
    assert why_not() == "there is no `ip` here"


@pytest.mark.slow
def test_the_measurement_runs() -> None:
    if why_not() is not None:
        pytest.skip(str(why_not()))
    (found,) = perf_link((replace(FIVE_G, count=8),)).values()
    assert found["messages"] == 8
    assert found["measured_ms"] > 20.0
