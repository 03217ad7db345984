"""Latencies that do not compare are doubted: apart, missing, on a busy machine, or unsteady."""

from __future__ import annotations

import pytest
from latencies import latency
from records import record

from splitlab.record import joined
from splitlab.record.latency_doubts import OTHERS_SHARE, SPREAD, latency_doubts


def run(rounds, **more):
    return joined([record(name) for name in rounds], [latency(rounds, **more)])


def test_an_idle_machine_raises_none():
    steady = {"conv1": [94.0, 95.0, 97.0], "fc": [93.0, 94.0, 93.0]}
    assert latency_doubts(run(steady, others=0.03)) == []


def test_points_measured_one_by_one_are_doubted():
    """285 ms on a busy machine and 94 ms on an idle one, each with its point."""
    apart = [
        record(name).model_copy(update={"latency": {"total": {"p50": ms, "p95": ms}}})
        for name, ms in (("conv1", 285.0), ("fc", 94.0))
    ]
    (found,) = latency_doubts(apart)
    assert "conv1, fc were measured apart" in found
    assert latency_doubts(apart[:1]) == [], "one place compares with nothing"
    paper = [one.model_copy(update={"config": {**one.config, "experiment": "x"}}) for one in apart]
    assert latency_doubts(paper) == []


def test_a_deployment_that_joined_and_was_not_measured_is_named():
    new = record("layer1").model_copy(update={"latency": {}})
    (found,) = latency_doubts([*run({"conv1": [3.0], "fc": [3.0]}), new])
    assert "latency of layer1 was not measured" in found
    old = record("layer1")
    (found,) = latency_doubts([*run({"conv1": [3.0]}), old])
    assert "layer1 were measured apart" in found or "of layer1" in found


@pytest.mark.parametrize(
    ("others", "told"), [(OTHERS_SHARE, False), (OTHERS_SHARE + 0.01, True), (None, False)]
)
def test_a_busy_machine(others, told):
    found = latency_doubts(run({"conv1": [3.0], "fc": [3.0]}, others=others))
    assert [("other processes took 11 %" in doubt) for doubt in found] == ([True] if told else [])


@pytest.mark.parametrize(
    ("rounds", "told"),
    [
        ([100.0, 100.0, 100.0 * (1 + SPREAD)], False),
        ([100.0, 100.0, 126.0], True),
        ([1.0, 1.5, 1.9], False),  # within the scheduler's grain
    ],
)
def test_rounds_that_lie_apart(rounds, told):
    found = latency_doubts(run({"conv1": rounds, "fc": [50.0, 50.0]}))
    assert [("conv1 (100 to 126 ms)" in doubt) for doubt in found] == ([True] if told else [])


def test_rounds_over_a_link_that_lie_apart():
    (one,) = run({"conv1": [3.0]}, link=70.0)
    wide = {**one.latency_facts, "link_rounds": {"lte": [70.0, 140.0]}}
    (found,) = latency_doubts([one.model_copy(update={"latency_facts": wide})])
    assert found.startswith("latency over lte: the rounds lie far apart at conv1 (70 to 140 ms)")
