"""Calls, streams and bytes are shared so that a host finds some, whatever others hold."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cloud_server.guard import admission as module
from cloud_server.guard.admission import LINGERING, Admission, Stay
from cloud_server.guard.limits import Exhausted, Limits
from cloud_server.guard.shares import fits
from splitlab.errors import BadInput
from splitlab.wire import refusals

SECONDS = 120
A, B, C, D = (f"ipv4:192.0.2.{number}:1000" for number in (1, 2, 3, 4))


class Clock:
    """One that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fill(admission: Admission, peer: str, *, idle: bool = False) -> list[Stay]:
    """All calls that a host gets now."""
    stays: list[Stay] = []
    try:
        while True:
            stays.append(admission.enter(peer))
            stays[-1].hold(0)
            stays[-1].idle(idle)
    except Exhausted:
        return stays


def test_a_host_may_hold_what_it_leaves_free() -> None:
    assert [own for own in range(6) if fits(own, 1, 6 - own)] == [0, 1, 2]
    assert fits(0, 1, 1)  # the last of all goes to who has none
    assert not fits(1, 1, 2)
    assert not fits(0, 1, 0)
    assert fits(0, 60, 100)
    assert not fits(1, 60, 100)


def test_calls_and_bytes_are_counted_by_host() -> None:
    admission = Admission(Limits(peer_calls=3, memory=100, patience=0.01), largest=25)
    stays = [admission.enter(A), admission.enter("ipv4:192.0.2.1:2000")]
    assert admission.open == (2, 50)
    with pytest.raises(Exhausted, match="hold the 0 MiB") as full:
        admission.enter(A)
    assert full.value.reason == refusals.MEMORY
    stays[0].hold(0)
    stays.append(admission.enter(A))
    with pytest.raises(Exhausted, match="3 calls of yours are open") as many:
        admission.enter(A)
    assert many.value.reason == refusals.CALLS
    stays.append(admission.enter(B))
    assert admission.open == (4, 75)
    with pytest.raises(Exhausted, match="4 of 6 calls are open, 1 of them yours") as crowded:
        admission.enter(B)
    assert crowded.value.reason == refusals.CROWDED
    for stay in stays:
        stay.hold(5)
    stays.append(admission.enter(C))
    assert admission.open == (5, 45)
    for stay in (*stays, stays[0]):
        stay.leave()
    stays[0].hold(7)
    assert admission.open == (0, 0)
    assert not admission.hosts
    assert not admission._bytes.held


def test_one_host_gets_half_of_the_memory_and_room_is_waited_for() -> None:
    admission = Admission(Limits(memory=100, patience=SECONDS), largest=50)
    held = admission.enter(A)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(admission.enter, A)
        admission.enter(B).leave()
        assert not waits.done()
        held.leave()
        waits.result(SECONDS).leave()
    with pytest.raises(BadInput, match="--max-memory: the deployment's largest request"):
        Admission(Limits(memory=49), largest=50)


def test_working_calls_of_greedy_hosts_halve_what_is_free_and_come_down_to_equal_shares() -> None:
    admission = Admission(Limits(peer_calls=32), largest=1)
    greedy = {host: fill(admission, f"ipv4:10.0.0.{host}:1") for host in range(3)}
    assert [len(stays) for stays in greedy.values()] == [32, 16, 8]
    for _ in range(100):  # all take what they get whenever a call of each has ended
        for host, stays in greedy.items():
            stays.pop(0).leave()
            stays += fill(admission, f"ipv4:10.0.0.{host}:1")
    assert [len(stays) for stays in greedy.values()] == [16, 16, 16]
    assert len(fill(admission, C)) == 8


def test_idle_calls_keep_nobody_out_however_many_hosts_hold_them() -> None:
    clock, cut = Clock(), list[str]()
    admission = Admission(Limits(peer_calls=32), 1, cut.append, clock)
    held = [s for h in range(12) for s in fill(admission, f"ipv4:10.0.0.{h}:1", idle=True)]
    assert admission.open[0] == 64
    with pytest.raises(Exhausted, match="64 of 64 calls are open, 0 of them yours"):
        admission.enter(C)
    clock.now = module.IDLE_SECONDS
    mine = fill(admission, C)
    assert len(mine) >= 64 // 8  # seven found a place
    assert admission.open[0] <= 64
    assert cut[0] == "ipv4:10.0.0.0:1"  # it had most
    gone = [stay for stay in held if stay.cut]
    assert gone[0] is held[0]  # and this had waited longest
    assert len(gone) == len(cut) < LINGERING
    for stay in gone:
        stay.leave()
        assert not stay.counted
    assert admission.open[0] == 64 - len(gone) + len(mine)


def test_calls_that_work_and_those_of_the_poorer_are_not_ended() -> None:
    clock = Clock()
    admission = Admission(Limits(peer_calls=2), 1, clock=clock)
    working, poor = [admission.enter(A) for _ in range(2)], admission.enter(B)
    poor.idle(True)
    last = admission.enter("ipv4:192.0.2.9:1")
    clock.now = 9.0
    with pytest.raises(Exhausted, match="4 of 4 calls"):
        admission.enter(C)
    working[1].idle(True)
    working[0].idle(True)
    clock.now = 18.0
    working[0].idle(False)
    admission.enter(C)
    assert [stay.cut for stay in (*working, poor, last)] == [False, True, False, False]


def test_idle_streams_and_the_room_of_idle_calls_go_to_who_has_less() -> None:
    clock = Clock()
    admission = Admission(Limits(streams=2, memory=1000), 100, clock=clock)
    stream = admission.enter(A, stream=True)
    stream.idle(True)
    admission.enter(B, stream=True).leave()
    other = [admission.enter(B) for _ in range(4)]
    for stay in other:
        stay.idle(True)
    taken = [admission.enter(C), admission.enter(C)]
    clock.now = 9.0
    taken.append(admission.enter(C))
    assert [stay.cut for stay in other] == [True, False, False, False]
    assert not stream.cut
    assert admission.open[1] == 100 + 300 + 300


def test_an_idle_stream_of_who_has_most_is_ended_for_another_hosts() -> None:
    clock, cut = Clock(), list[str]()
    admission = Admission(Limits(streams=4, memory=2000), 100, cut.append, clock)
    first, second = (admission.enter(A, stream=True) for _ in range(2))
    for stay in (second, first):
        stay.idle(True)
        clock.now += 0.1
    lone = admission.enter(B, stream=True)
    lone.idle(True)
    admission.enter(C, stream=True)
    with pytest.raises(Exhausted, match="4 of 4 streams are open, 0 of them yours"):
        admission.enter(D, stream=True)
    clock.now = 9.0
    admission.enter(D, stream=True)
    assert [stay.cut for stay in (first, second, lone)] == [False, True, False]
    assert cut == [A]
    assert admission.open == (4, 400)


def test_nobody_is_ended_for_a_stream_that_is_refused_all_the_same() -> None:
    """Its place among the calls could be had; its place among the streams could not."""
    clock = Clock()
    admission = Admission(Limits(peer_calls=2, streams=2), 1, clock=clock)
    idle = [admission.enter(A) for _ in range(2)]
    for peer in (B, C):
        admission.enter(peer, stream=True)
    for stay in idle:
        stay.idle(True)
    clock.now = 9.0
    with pytest.raises(Exhausted, match="2 of 2 streams") as refused:
        admission.enter(D, stream=True)
    assert refused.value.reason == refusals.STREAMS
    assert not any(stay.cut for stay in idle)
    admission.enter(D)
    assert [stay.cut for stay in idle] == [True, False]


def test_streams_hold_half_of_the_memory_at_most_and_calls_find_the_other() -> None:
    admission = Admission(Limits(memory=1000, patience=0.0), 100)
    taken = [admission.enter(peer, stream=True) for peer in (A, A, B, C, D)]
    assert admission.open == (5, 500)
    with pytest.raises(Exhausted, match="streams hold 0 of the 0 MiB that they may") as refused:
        admission.enter("ipv4:10.0.0.1:1", stream=True)
    assert refused.value.reason == refusals.STREAMS
    for peer in ("ipv4:10.0.0.1:1", "ipv4:10.0.0.2:1"):
        admission.enter(peer)
    taken[0].hold(130)  # a reply that is larger than any message
    taken[0].leave()
    admission.enter("ipv4:10.0.0.1:1", stream=True)
    assert admission.open == (7, 700)


def test_junk_does_not_keep_a_stream_from_being_idle() -> None:
    clock = Clock()
    admission = Admission(Limits(streams=4, memory=2000), 100, clock=clock)
    junk, right = (admission.enter(A, stream=True) for _ in range(2))
    for _ in range(4):
        for stay in (junk, right):
            stay.idle(True)
        clock.now += 0.6 * module.IDLE_SECONDS
        for stay in (junk, right):
            stay.idle(False)
            stay.fresh = stay is right
    for stay in (junk, right):
        stay.idle(True)
    for peer in (B, C, D):
        admission.enter(peer, stream=True)
    assert (junk.cut, right.cut) == (True, False)


def test_who_was_ended_is_told_of_when_others_may_enter_again() -> None:
    """A line about it may be slow to write; meanwhile calls come and go."""
    clock, told = Clock(), list[int]()

    def slowly(_: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            told.append(pool.submit(lambda: admission.open[0]).result(SECONDS))

    admission = Admission(Limits(peer_calls=2), 1, slowly, clock)
    for peer in (A, A, B, C):
        admission.enter(peer).idle(True)
    clock.now = 9.0
    admission.enter(D)
    assert told == [4]


def test_who_waits_for_room_is_woken_when_some_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    admission = Admission(Limits(memory=1000), 100)
    woken: list[bool] = []
    monkeypatch.setattr(admission._changed, "notify_all", lambda: woken.append(True))
    stay = admission.enter(A)
    stay.hold(100)
    stay.hold(120)
    assert not woken
    stay.hold(119)
    assert len(woken) == 1
    stay.leave()
    assert len(woken) == 2


def test_a_call_that_waits_for_room_gives_its_place_up_too() -> None:
    clock, told = Clock(), threading.Event()
    admission = Admission(Limits(peer_calls=2, memory=100, patience=1e6), 50, clock=clock)
    admission.enter(A)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(admission.enter, A, cancel=told.set)
        while admission.open[0] < 2:
            threading.Event().wait(0.01)
        for peer in (B, "ipv4:192.0.2.9:1"):
            stay = admission.enter(peer)
            stay.hold(0)
        clock.now = 9.0
        admission.enter(C)
        with pytest.raises(Exhausted) as ended:
            waits.result(SECONDS)
    assert told.is_set()
    assert ended.value.told  # it counts as idle, and not as without room too
    assert admission.hosts["ipv4:192.0.2.1"] == 1


def test_a_share_is_held_until_the_call_is_over_and_its_thread_has_left() -> None:
    """Who ends calls whose requests wait for the bodies gets no others in their place."""
    admission = Admission(Limits(peer_calls=1), 1)
    stay = admission.enter(A)
    stay.leave("call")
    with pytest.raises(Exhausted, match="1 calls of yours"):
        admission.enter(A)
    stay.leave("thread")
    admission.enter(A)


def test_a_stream_holds_its_largest_message_as_long_as_it_is_open() -> None:
    """A tiny first message must not make room for what a large second one then takes."""
    admission = Admission(Limits(streams=4, memory=2000), 200)
    first = admission.enter("ipv4:10.0.0.1:1", stream=True)
    first.hold(1)
    assert admission.open == (1, 200)
    second = admission.enter("ipv4:10.0.0.1:2", stream=True)
    with pytest.raises(Exhausted, match="2 streams of yours are open"):
        admission.enter("ipv4:10.0.0.1:3", stream=True)
    other = admission.enter("ipv4:10.0.0.2:1", stream=True)
    with pytest.raises(Exhausted, match="3 of 4 streams are open, 1 of them yours"):
        admission.enter("ipv4:10.0.0.2:2", stream=True)
    call = admission.enter("ipv4:10.0.0.2:2")
    call.hold(1)
    assert admission.open == (4, 601)
    for stay in (first, second, other, call):
        stay.leave()
    assert admission.open == (0, 0)
    crowded = Admission(Limits(memory=400, patience=60), 200)
    crowded.enter("ipv4:10.0.0.1:1")
    with pytest.raises(Exhausted, match="requests hold"):
        crowded.enter("ipv4:10.0.0.1:2", stream=True)  # at once: its client sends a call
