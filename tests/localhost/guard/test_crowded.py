"""A server that others crowd serves whoever comes, or says so in words that help."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest
import torch
from halves import Client, Server, images, wait_until

from cloud_server.guard import admission as module
from cloud_server.guard.admission import LINGERING
from cloud_server.guard.limits import Limits
from cloud_server.handler import largest_held
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from edge_client.failures import ADVICE, CallFailed, explain
from splitlab.errors import ServerRefused
from splitlab.wire import refusals
from splitlab.wire.messages import INFER, SERVICE, STREAM_INFER

Serve = Callable[..., CloudServer]
SECONDS = 120


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


def silent_calls(
    server: CloudServer, source: str, count: int, method: str = INFER
) -> socket.socket:
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x"}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    header = b"".join(literal(k.encode(), v.encode()) for k, v in fields.items())
    calls = b"".join(frame(1, 4, 2 * number + 1, header) for number in range(count))
    connection = socket.create_connection(
        (server.host, server.port), SECONDS, source_address=(source, 0)
    )
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + calls)
    return connection


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


def test_streams_of_others_leave_room_for_a_hosts_calls(
    serve: Serve, hold: Callable[..., None]
) -> None:
    """They hold all the memory that streams may, so that the request goes by calls."""
    half = Server()
    limits = Limits(memory=16 * largest_held(half), patience=float(SECONDS))
    server = serve(half, limits=limits)
    gate = server._gate.admission
    for number in range(6):
        hold(server, f"127.0.0.{2 + number}", 16, STREAM_INFER)
    wait_until(lambda: gate.open[1] == limits.memory // 2)
    with EdgeClient(Client(), [server.address], retries=0) as client:
        assert torch.isfinite(client.infer(images(40)).logits).all()


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


def test_a_call_that_was_ended_may_have_given_its_place_to_another_host() -> None:
    told = str(explain(CallFailed(grpc.StatusCode.CANCELLED, "ended"), "x:1", deadline_s=1))
    assert told.startswith("x:1 ended a request on its way (ended): it stopped, ")
    assert "gave the place to another host" in told
    assert told.endswith("send the request again")


def test_refusals_are_not_kept_waiting_by_the_calls_that_are_open(
    serve: Serve, hold: Callable[..., None]
) -> None:
    """Every place is taken; however many more come, threads are left to refuse them."""
    server = serve(limits=Limits(peer_calls=2))
    for number in (2, 3, 4, 5):
        hold(server, f"127.0.0.{number}", 1)
    wait_until(lambda: server._gate.admission.open[0] == 4)
    # gRPC itself turns away one whose ended calls it has not cleared away yet (REFUSED_STREAM).
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    for _ in range(3 * LINGERING):
        with grpc.insecure_channel(server.address, own_connection) as channel:
            ask = channel.unary_unary(f"/{SERVICE}/ServerLive")
            with pytest.raises(grpc.RpcError) as refused:
                ask(b"", timeout=SECONDS)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "4 of 4 calls are open" in refused.value.details()
