"""Stages add up: known answers of the attribution, and a real request of overlapping messages."""

from __future__ import annotations

import statistics

import pytest

from edge_client.ledger import by_stage
from edge_client.stages import STAGES, Span, journey, parts, waited, whole

TOLD = [("codec", 0.5), ("queue", 4.0), ("bodies", 3.0), ("codec", 0.5)]


def test_a_journey_is_laid_out_in_the_order_in_which_it_goes():
    assert journey(9.0, 10.0, 20.0, TOLD) == [
        Span("retry", 9.0, 10.0),
        Span("network", 10.0, 11.0),
        Span("codec", 11.0, 11.5),
        Span("queue", 11.5, 15.5),
        Span("bodies", 15.5, 18.5),
        Span("codec", 18.5, 19.0),
        Span("network", 19.0, 20.0),
    ]


def test_a_wait_belongs_to_what_the_awaited_message_does_meanwhile():
    """The wait began while it was queued, and lasted a little beyond its arrival."""
    found = waited(14.0, 20.25, journey(10.0, 10.0, 20.0, TOLD))
    assert found == {"queue": 1.5, "bodies": 3.0, "codec": 0.5, "network": 1.25}
    assert sum(found.values()) == 6.25


def test_a_server_that_claims_more_than_the_round_trip_gets_no_more_than_it():
    found = waited(0.0, 2.0, journey(0.0, 0.0, 2.0, [("queue", 6.0), ("bodies", 2.0)]))
    assert found == {"queue": 1.5, "bodies": 0.5}


def test_without_an_account_a_wait_is_the_networks():
    assert waited(1.0, 3.0, journey(1.0, 1.0, 3.0, [])) == {"network": 2.0}


def test_messages_that_queue_behind_their_forerunners_are_counted_once():
    """Four messages sent at once, a second of bodies each: 1 + 2 + 3 seconds of queue in 4."""
    ends = [1.0, 2.0, 3.0, 4.0]
    total: dict[str, float] = {}
    now = 0.0
    for place, end in enumerate(ends):
        spans = journey(0.0, 0.0, end, [("queue", float(place)), ("bodies", 1.0)])
        for stage, seconds in waited(now, end, spans).items():
            total[stage] = total.get(stage, 0.0) + seconds
        now = end
    assert total == {"bodies": 4.0}


def test_what_no_stage_claims_is_said():
    found = whole({"tail": 1.0, "head": 2.0}, 3.5)
    assert list(found) == ["head", "tail", "other"]
    assert found["other"] == 0.5
    assert sum(found.values()) == 3.5


def test_parts_add_up_to_the_median_where_medians_of_stages_do_not():
    requests = [
        {"head": head, "bodies": bodies, "other": 1.0, "total": head + bodies + 1.0}
        for head, bodies in ((1.0, 9.0), (8.0, 1.0), (3.0, 4.0), (6.0, 2.0), (50.0, 400.0))
    ]
    p50 = statistics.median(ms["total"] for ms in requests)
    found = parts(requests)
    assert sum(found.values()) == pytest.approx(p50)
    assert list(found) == ["head", "bodies", "other"]
    shown = by_stage(requests)
    assert shown["total"]["p50"] == p50
    assert sum(each["part"] for each in shown.values() if "part" in each) == pytest.approx(p50)
    medians = sum(shown[stage]["p50"] for stage in found)
    assert medians != pytest.approx(p50), "else this says nothing"


def test_no_requests_have_no_stages():
    assert by_stage([]) == {}


def test_a_stage_has_one_place():
    assert len(set(STAGES)) == len(STAGES)
