"""What passes under `bench soak`: which failures are explained, and what memory may do."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.perf.soak import server as soak_server
from bench.perf.soak.account import RETURN_SECONDS, Account
from bench.perf.soak.server import GROWTH_MIB, LONG_SECONDS, SELF, WARM_ANSWERS, ResidentMemory


def account(**given) -> Account:
    return Account(**{"sent": 9, "answered": 9, **given})


def test_only_what_an_event_explains_may_fail() -> None:
    away = "ServerUnavailable"
    kept = account(sent=1000, answered=990)
    kept.fail(away, 0.0, 4.9)  # over before anything happened
    kept.begin("cut", 5.0)
    kept.fail(away, 0.0, 5.0)
    kept.fail(away, 7.0, 9.0)  # the cable is still cut
    kept.end(10.0)
    kept.fail(away, 10.0 + RETURN_SECONDS, 99.0)
    kept.fail(away, 10.1 + RETURN_SECONDS, 99.0)  # long after it
    kept.begin("kill", 100.0)
    kept.end(101.0)
    kept.fail(away, 8.0, 9.0)  # of the first event still
    kept.fail("ServerRefused", 100.0, 101.0)  # an error of another kind
    for begun in (90.0, 100.5, 101.0):
        kept.fail(away, begun, begun + 10.0)
    assert kept.failed == {away: 9, "ServerRefused": 1}
    assert kept.unexplained == {away: 2, "ServerRefused": 1}
    assert kept.events == {"cut": 1, "kill": 1}
    assert kept.complaints == [
        "3 failures that no event explains: ServerUnavailable, ServerRefused"
    ]
    fine = account(sent=10)
    fine.begin("cut", 0.0)
    fine.fail(away, 0.0, 1.0)
    assert fine.passed


def test_most_requests_must_be_answered() -> None:
    few = {"sent": 1000, "answered": 899, "failed": Counter(ServerUnavailable=101)}
    lost = Account(**few, events=Counter(kill=9))
    assert lost.complaints == ["89.9% of the requests were answered, at least 90.0% must be"]
    assert Account(**few, events=Counter(kill=9), least=0.8).passed
    assert Account(**{**few, "answered": 900, "failed": Counter()}, least=0.9).complaints == [
        "1000 requests were sent, 900 answered, 0 failed and 0 crashed; the rest is lost"
    ]


def watched(growth: float, seconds: float) -> ResidentMemory:
    return ResidentMemory(
        "1", samples=[(seconds * i / 100, 300 + growth * i / 100) for i in range(101)]
    )


def test_what_does_not_pass() -> None:
    assert account().passed
    assert not account(sent=10).passed  # one was lost
    assert not account(died=1).passed
    assert account(hung=1).complaints == ["1 clients did not end"]
    assert not account(wrong=1).passed
    assert not Account().passed
    assert Account().complaints == ["no request was answered"]
    leak, short = (
        watched(2 * GROWTH_MIB, LONG_SECONDS + 1),
        watched(2 * GROWTH_MIB, LONG_SECONDS - 1),
    )
    assert not account(servers=[leak]).passed
    assert not account(client=leak).passed
    assert account(servers=[short, watched(GROWTH_MIB / 2, 2400)]).passed


def test_growth_counts_from_where_memory_has_settled() -> None:
    start = [1510.0] * 8 + [1076.0] * 16
    grown = ResidentMemory(
        "1", samples=[(10.0 * at, mib) for at, mib in enumerate(start + [1120.0] * 8)]
    )
    assert grown.growth == 44.0
    assert not account(servers=[grown]).passed
    level = ResidentMemory(
        "1", samples=[(10.0 * at, mib) for at, mib in enumerate(start + [1080.0] * 8)]
    )
    assert level.growth == 4.0
    late = [1076.0] * 20 + [1000.0] * 6 + [1030.0] * 6  # a dip beyond the first half is none of it
    assert (
        ResidentMemory("1", samples=[(10.0 * at, x) for at, x in enumerate(late)]).growth == -46.0
    )
    assert soak_server.settled([7.0, 9.0]) == 8.0


def test_memory_is_watched_from_the_first_answers_on() -> None:
    memory = ResidentMemory("self", answers=100)
    memory.sample(1.0, 100 + WARM_ANSWERS - 1)
    assert memory.samples == []
    memory.sample(2.0, 100 + WARM_ANSWERS)
    memory.sample(3.0, 500)  # too soon after the last
    memory.sample(4.0, 500, last=True)
    assert [at for at, _ in memory.samples] == [2.0, 4.0]
    assert memory.growth is None


def test_what_the_collector_would_free_is_no_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    collected = []
    monkeypatch.setattr(soak_server.gc, "collect", lambda: collected.append(1))
    ResidentMemory(SELF).sample(1.0, WARM_ANSWERS)
    assert collected == [1]
    ResidentMemory("1").sample(1.0, WARM_ANSWERS)
    assert collected == [1]
