"""Calls, streams and bytes are shared so that a host finds some, whatever others hold."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import grpc
import pytest
import torch
from halves import Client, images

from cloud_server import admission as module
from cloud_server.admission import LINGERING, Admission, Stay, fits
from cloud_server.limits import Exhausted, Limits
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from edge_client.failures import ADVICE, explain
from splitlab.errors import BadInput, ServerRefused
from splitlab.wire import refusals
from splitlab.wire.messages import INFER, SERVICE

Serve = Callable[..., CloudServer]
SECONDS = 20
A, B, C = (f"ipv4:192.0.2.{number}:1000" for number in (1, 2, 3))


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
        with pytest.raises(Exhausted):
            waits.result(SECONDS)
    assert told.is_set()
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


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One of HTTP/2."""
    head = struct.pack(">I", len(body))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + body


def literal(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


@pytest.fixture
def hold() -> Iterator[Callable[..., None]]:
    """From an address, open one connection with calls of which no message ever comes."""
    with ExitStack() as stack:
        yield lambda *of_whom: stack.enter_context(silent_calls(*of_whom))


def silent_calls(server: CloudServer, source: str, count: int) -> socket.socket:
    fields = {":method": "POST", ":scheme": "http", ":path": INFER, ":authority": "x"}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    header = b"".join(literal(k.encode(), v.encode()) for k, v in fields.items())
    calls = b"".join(frame(1, 4, 2 * number + 1, header) for number in range(count))
    connection = socket.create_connection(
        (server.host, server.port), SECONDS, source_address=(source, 0)
    )
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + calls)
    return connection


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come true")


@pytest.mark.parametrize("hosts", [2, 9])
def test_another_host_is_served_beside_greedy_ones(
    serve: Serve, hold: Callable[..., None], monkeypatch: pytest.MonkeyPatch, hosts: int
) -> None:
    """Each within its own limits; together they would hold everything."""
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    server = serve()
    gate = server._gate.admission
    for number in range(hosts):
        hold(server, f"127.0.0.{2 + number}", 128)
        host = f"ipv4:127.0.0.{2 + number}"
        wait_until(lambda host=host: gate.hosts.get(host, 0) >= 1)
    with EdgeClient(Client(), [server.address], retries=0) as client:
        assert torch.isfinite(client.infer(images(40)).logits).all()
        assert len(gate.hosts) == hosts + 1


def test_a_crowded_server_says_so_in_its_own_words_and_its_client_what_to_do(
    serve: Serve, hold: Callable[..., None]
) -> None:
    server = serve(limits=Limits(peer_calls=1))
    for number in (2, 3):
        hold(server, f"127.0.0.{number}", 1)
    wait_until(lambda: server._gate.admission.open[0] == 2)
    with (
        EdgeClient(Client(), [server.address], retries=0) as client,
        pytest.raises(ServerRefused) as refused,
    ):
        client.handshake()
    words = "2 of 2 calls are open, 0 of them yours; a host gets as many as it leaves free"
    assert f"RESOURCE_EXHAUSTED: {words}; send again later; " in str(refused.value)
    assert str(refused.value).endswith(ADVICE[refusals.CROWDED])


class Refusal(grpc.RpcError):
    """A refusal with one word of its own."""

    def __init__(self, word: str | bytes) -> None:
        self._word = word

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.RESOURCE_EXHAUSTED

    def details(self) -> str:
        return "no"

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return (("other", "x"), (refusals.HEADER, self._word))


def test_advice_fits_the_reason_and_unknown_ones_get_that_of_the_status() -> None:
    for word in (refusals.CALLS, refusals.CROWDED, refusals.STREAMS):
        assert str(explain(Refusal(word), "x:1", deadline_s=1)).endswith(ADVICE[word])
    for word in (refusals.MEMORY, "made up", b"crowded"):
        assert "send smaller micro-batches" in str(explain(Refusal(word), "x:1", deadline_s=1))


def test_refusals_are_not_kept_waiting_by_the_calls_that_are_open(
    serve: Serve, hold: Callable[..., None]
) -> None:
    """Every place is taken; however many more come, threads are left to refuse them."""
    server = serve(limits=Limits(peer_calls=2))
    for number in (2, 3, 4, 5):
        hold(server, f"127.0.0.{number}", 1)
    wait_until(lambda: server._gate.admission.open[0] == 4)
    with grpc.insecure_channel(server.address) as channel:
        ask = channel.unary_unary(f"/{SERVICE}/ServerLive")
        for _ in range(3 * LINGERING):
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=SECONDS)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "4 of 4 calls are open" in refused.value.details()
