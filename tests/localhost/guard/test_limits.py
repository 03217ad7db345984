"""Over a limit a peer is told so, and the others are served; who says nothing is let go."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from halves import Client, Server, images, wait_until

from cloud_server import servicer
from cloud_server.guard.limits import Limits
from cloud_server.hosts import host_of
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.errors import ServerRefused, ServerUnavailable
from splitlab.wire.messages import INFER, SERVICE, STREAM_INFER

Serve = Callable[..., CloudServer]
SECONDS = 120
METADATA = f"/{SERVICE}/ServerMetadata"


def test_hosts() -> None:
    assert host_of("ipv4:192.0.2.1:50000") == "ipv4:192.0.2.1"
    assert host_of("ipv6:%5B2001:db8:1:2:3::4%5D:50000") == "ipv6:2001:db8:1:2::/64"
    assert host_of("ipv6:[2001:db8:1:2::]:1") == "ipv6:2001:db8:1:2::/64"
    assert host_of("ipv6:[2001:db8:1:3::]:1") == "ipv6:2001:db8:1:3::/64"
    assert host_of("ipv6:%5B::ffff:192.0.2.1%5D:1") == "ipv4:192.0.2.1"
    assert host_of("ipv6:%5Bnone%5D:1") == "ipv6:%5Bnone%5D"
    assert host_of("unix:path") == "unix:path"


def silent(channel: grpc.Channel, method: str) -> tuple[grpc.Call, SimpleQueue[bytes | None]]:
    """A call that has begun, and what would go up."""
    going: SimpleQueue[bytes | None] = SimpleQueue()
    return channel.stream_stream(method)(iter(going.get, None), timeout=SECONDS), going


def test_who_holds_too_many_calls_is_refused_and_served_again_later(serve: Serve) -> None:
    server = serve(limits=Limits(peer_calls=3))
    admission = server._gate.admission
    with grpc.insecure_channel(server.address) as channel:
        held = [silent(channel, STREAM_INFER) for _ in range(3)]
        wait_until(lambda: admission.open[0] == 3)
        with (
            EdgeClient(Client(), [server.address], retries=0) as client,
            pytest.raises(ServerRefused, match="RESOURCE_EXHAUSTED: 3 calls of yours are open"),
        ):
            client.handshake()
        for _, going in held:
            going.put(None)
        wait_until(lambda: admission.open == (0, 0))
        with EdgeClient(Client(), [server.address]) as client:
            assert client.infer(images(5)).logits.shape == (5, 3)


def second_host(server: CloudServer) -> tuple[str, socket.socket]:
    """HOST:PORT through which a server is reached from 127.0.0.2, for one connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        client, _ = listening.accept()
        there = socket.create_connection(
            (server.host, server.port), SECONDS, source_address=("127.0.0.2", 0)
        )
        there.settimeout(None)
        back = threading.Thread(target=pump, args=(there, client), daemon=True)
        back.start()
        pump(client, there)
        back.join()
        client.close()
        there.close()

    threading.Thread(target=serve, daemon=True).start()
    return f"127.0.0.1:{listening.getsockname()[1]}", listening


def test_another_host_is_served_while_one_is_over_its_limit(serve: Serve) -> None:
    server = serve(limits=Limits(peer_calls=8, patience=SECONDS))
    admission = server._gate.admission
    address, listening = second_host(server)
    with listening, grpc.insecure_channel(server.address) as channel:
        held = [silent(channel, INFER) for _ in range(8)]
        wait_until(lambda: admission.open[0] == 8)
        with (
            EdgeClient(Client(), [server.address], retries=0) as client,
            pytest.raises(ServerRefused, match="RESOURCE_EXHAUSTED: 8 calls of yours are open"),
        ):
            client.handshake()
        with EdgeClient(Client(), [address]) as other:
            assert torch.isfinite(other.infer(images(20)).logits).all()
            assert set(admission.hosts) == {"ipv4:127.0.0.1", "ipv4:127.0.0.2"}
        for call, _ in held:
            call.cancel()


def test_requests_wait_in_the_queue_of_their_host(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, hosts = serve(), []
    run = server._engine.run

    def noted(*arguments: Any) -> Any:
        hosts.append(arguments[2])
        return run(*arguments)

    monkeypatch.setattr(server._engine, "run", noted)
    with EdgeClient(Client(), [server.address]) as client:
        client.infer(images(20))
    assert set(hosts) == {"ipv4:127.0.0.1"}


@pytest.mark.parametrize("method", [INFER, STREAM_INFER, METADATA, "/grpc.health.v1.Health/Check"])
def test_a_message_that_never_arrives_ends_the_call(serve: Serve, method: str) -> None:
    server = serve(limits=Limits(patience=0.2))
    with grpc.insecure_channel(server.address) as channel:
        call, _ = silent(channel, method)
        with pytest.raises(grpc.RpcError) as ended:
            list(call)
        assert ended.value.code() is grpc.StatusCode.CANCELLED
        wait_until(lambda: server._gate.admission.open == (0, 0))


def test_slow_peers_do_not_keep_others_out(serve: Serve) -> None:
    """All calls of a host are held by messages that never come; patience frees them."""
    server = serve(limits=Limits(peer_calls=4, patience=0.5))
    with grpc.insecure_channel(server.address) as channel:
        calls = [silent(channel, INFER) for _ in range(12)]
        with EdgeClient(Client(), [server.address]) as client:
            refusals = []

            def served() -> bool:
                try:
                    return bool(torch.isfinite(client.infer(images(2)).logits).all())
                except ServerRefused as refused:
                    refusals.append(str(refused))
                    return False

            wait_until(served)
        assert all("RESOURCE_EXHAUSTED" in refusal for refusal in refusals)
        for call, _ in calls:
            call.cancel()


class Slow(torch.nn.Module):
    """A body that waits to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go = threading.Event(), threading.Event()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        self.entered.set()
        assert self.go.wait(SECONDS)
        return z.flatten(1)[:, :5]


@pytest.fixture
def slow() -> Iterator[tuple[Server, Slow]]:
    half, body = Server(), Slow()
    half.bodies[0] = body
    yield half, body
    body.go.set()


def test_a_request_that_waits_too_long_is_given_up(
    serve: Serve, slow: tuple[Server, Slow], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, now = [], [0.0]

    def monotonic() -> float:
        asked.append(now[0])
        return now[0]

    monkeypatch.setattr(servicer, "time", SimpleNamespace(monotonic=monotonic))
    half, body = slow
    server = serve(half, limits=Limits(seconds=5))
    with (
        ThreadPoolExecutor(2) as pool,
        EdgeClient(Client(), [server.address]) as client,
        EdgeClient(Client(), [server.address], retries=0) as late,
    ):
        late.handshake()
        first = pool.submit(client.infer, images(1))
        assert body.entered.wait(SECONDS)
        second = pool.submit(late.infer, images(1))
        wait_until(lambda: len(asked) == 3)  # the first as it came and began, the second as it came
        now[0] = 6.0
        body.go.set()
        assert torch.isfinite(first.result().logits).all()
        with pytest.raises(ServerUnavailable, match="did not answer within"):
            second.result()


def test_a_health_watch_is_a_call_like_any_other(serve: Serve) -> None:
    server = serve()
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=SECONDS
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert server._gate.admission.open[0] == 1
        watch.cancel()
        wait_until(lambda: server._gate.admission.open == (0, 0))


GARBAGE = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(range(256)) * 64,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x04\x00\x00\x00\x00\x00",
    bytes(4096),
)


def test_garbage_and_half_open_connections_leave_the_server_up(serve: Serve) -> None:
    server = serve()
    open_ones = []
    for number in range(120):
        connection = socket.create_connection((server.host, server.port), timeout=SECONDS)
        connection.sendall(GARBAGE[number % len(GARBAGE)])
        open_ones.append(connection)
    with EdgeClient(Client(), [server.address]) as client:
        assert torch.isfinite(client.infer(images(9)).logits).all()
    for connection in open_ones:
        connection.close()
    with EdgeClient(Client(), [server.address]) as client:
        assert torch.isfinite(client.infer(images(9)).logits).all()


def peak() -> int:
    """Most bytes that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.slow
def test_floods_leave_memory_flat(serve: Serve) -> None:
    server = serve(limits=Limits(peer_calls=32))

    def flood(count: int) -> None:
        with grpc.insecure_channel(server.address) as channel:
            infer = channel.unary_unary(INFER)
            calls = [infer.future(bytes(number % 50), timeout=SECONDS) for number in range(count)]
            for call in calls:
                assert call.exception() is not None

    flood(2000)
    before = peak()
    for _ in range(10):
        flood(2000)
    assert peak() - before < 32 << 20
    with EdgeClient(Client(), [server.address]) as client:
        assert torch.isfinite(client.infer(images(9)).logits).all()
