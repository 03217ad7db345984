"""The eavesdropper: transparent to both sides, and what it keeps is what the server's tap keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from halves import Client, Server, images

from adversary.tap.grpc_relay import GrpcRelay
from adversary.tap.tcp_relay import TcpRelay
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.capture import Capture, CaptureWriter
from splitlab.errors import BadInput, ServerUnavailable
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER, STREAM_INFER, from_stream

Serve = Callable[..., CloudServer]
SECONDS = 120


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Start a relay to an address; gives it and what closes its capture."""
    running: list[tuple[GrpcRelay | TcpRelay, CaptureWriter]] = []

    def start(upstream: str, kind: type[GrpcRelay] | type[TcpRelay] = GrpcRelay) -> Any:
        tap = CaptureWriter(
            tmp_path / f"relay-{len(running)}", "tcp" if kind is TcpRelay else "relay"
        )
        relay = kind("127.0.0.1:0", upstream, tap=tap)
        running.append((relay, tap))
        relay.start()

        def heard() -> Capture:
            relay.stop()
            tap.close()
            return Capture.open(tap.folder)

        return relay, heard

    yield start
    for relay, tap in running:
        relay.stop()
        tap.close()


@pytest.mark.parametrize("wire", ["FP32", "INT8"])
def test_an_eavesdropper_and_the_server_hear_the_same(
    serve: Serve, listen: Callable[..., Any], tmp_path: Path, wire: str
) -> None:
    tap = CaptureWriter(tmp_path / "server", "server")
    server = serve(Server(body_ids=[0, 1], wire=wire), tap=tap)
    relay, heard = listen(server.address)
    half, x = Client(total=2, chosen=(1,), wire=wire, noise=0.1), images(21)
    with EdgeClient(half, [relay.address]) as client:
        through = client.infer(x, request_id="0" * 32)
    with EdgeClient(half, [server.address]) as client:
        direct = client.infer(x, request_id="0" * 32)
    assert torch.equal(through.logits, direct.logits)
    tap.close()
    theirs = {e.first_row: e for e in heard().exchanges()}
    ours = {e.first_row: e for e in Capture.open(tmp_path / "server").exchanges()}
    assert sorted(theirs) == sorted(ours) == [0, 8, 16]
    for row, exchange in theirs.items():
        assert torch.equal(exchange.feature, ours[row].feature)
        assert exchange.request_id == ours[row].request_id
        assert exchange.bytes_up == ours[row].bytes_up
        assert exchange.outputs is not None
        outputs = ours[row].outputs
        assert outputs is not None
        assert all(torch.equal(a, b) for a, b in zip(exchange.outputs, outputs, strict=True))


def request(**changes: Any) -> bytes:
    feature = torch.ones(1, 4, 6, 6)
    fields = {"model_name": "tiny", "message_id": "a", "tensors": tuple(encode(feature, "FP32"))}
    return Request(**{**fields, **changes}).to_bytes()


def test_streams_errors_and_other_services_pass(serve: Serve, listen: Callable[..., Any]) -> None:
    relay, heard = listen(serve().address)
    with grpc.insecure_channel(relay.address) as channel:
        answers = channel.stream_stream(STREAM_INFER)(
            iter([request(), request(model_name="x")]), timeout=SECONDS
        )
        assert ["unknown model" in from_stream(raw)[0] for raw in answers] == [False, True]
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(INFER)(request(model_name="x"), timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert "unknown model 'x'; nearest: tiny" in caught.value.details()
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/no.Such/Method")(b"", timeout=SECONDS)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
    found = heard()
    methods = {frame.method for frame in found.frames()}
    assert {STREAM_INFER, INFER, "/grpc.health.v1.Health/Check"} <= methods
    assert len(found.exchanges()) == 3


class Echo(grpc.GenericRpcHandler):
    """Answers with what it was told besides the message."""

    def __init__(self) -> None:
        self.seconds_left: float | None = None

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        del details

        def answer(raw: bytes, context: grpc.ServicerContext) -> bytes:
            self.seconds_left = context.time_remaining()
            told = dict(context.invocation_metadata())
            context.send_initial_metadata((("first", told["question"]),))
            context.set_trailing_metadata((("last-bin", b"\x00\xff"),))
            context.set_code(grpc.StatusCode.DATA_LOSS)
            context.set_details("words, ünchanged")
            return raw

        return grpc.unary_unary_rpc_method_handler(answer)


def test_metadata_deadlines_and_status_pass_unchanged(listen: Callable[..., Any]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    echo = Echo()
    upstream = grpc.server(ThreadPoolExecutor(1))
    upstream.add_generic_rpc_handlers((echo,))
    port = upstream.add_insecure_port("127.0.0.1:0")
    upstream.start()
    relay, _ = listen(f"127.0.0.1:{port}")
    with (
        grpc.insecure_channel(relay.address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        channel.unary_unary("/a.B/C")(b"x", timeout=500, metadata=(("question", "why"),))
    upstream.stop(None).wait()
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "words, ünchanged")
    assert ("first", "why") in [tuple(pair) for pair in error.initial_metadata()]
    assert ("last-bin", b"\x00\xff") in [tuple(pair) for pair in error.trailing_metadata()]
    assert echo.seconds_left is not None
    assert 0 < echo.seconds_left <= 502  # gRPC rounds up to whole seconds, at every hop


def test_a_dead_upstream_looks_like_a_dead_server(serve: Serve, listen: Callable[..., Any]) -> None:
    server = serve()
    relay, _ = listen(server.address)
    with EdgeClient(Client(), [relay.address], retries=0) as client:
        client.infer(images(2))
        server.stop(0, quiet=0)
        with pytest.raises(ServerUnavailable, match=f"{relay.address} does not answer"):
            client.infer(images(2))


def test_the_tcp_relay_keeps_sizes_times_and_directions(
    serve: Serve, listen: Callable[..., Any]
) -> None:
    relay, heard = listen(serve().address, TcpRelay)
    with EdgeClient(Client(), [relay.address]) as client:
        result = client.infer(images(16))
    assert torch.isfinite(result.logits).all()
    capture = heard()
    frames = list(capture.frames())
    assert all(frame.data == b"" for frame in frames)
    up = sum(frame.size for frame in frames if frame.direction == "up")
    down = sum(frame.size for frame in frames if frame.direction == "down")
    assert result.bytes_up < up < result.bytes_up + 20_000  # HTTP/2, handshake and pings
    assert result.bytes_down < down
    assert [frame.arrival_ns for frame in frames] == sorted(frame.arrival_ns for frame in frames)
    with pytest.raises(BadInput, match="sizes and times only"):
        capture.features()


def test_the_tcp_relay_passes_the_end_of_a_connection(listen: Callable[..., Any]) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as upstream:
        relay, heard = listen(f"127.0.0.1:{upstream.getsockname()[1]}", TcpRelay)
        with socket.create_connection((relay.host, relay.port)) as client:
            server, _ = upstream.accept()
            with server:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                assert server.makefile("rb").read() == b"hello"
                server.sendall(b"goodbye")
            assert client.makefile("rb").read() == b"goodbye"
        sizes = {(frame.direction, frame.size) for frame in heard().frames()}
    assert sizes == {("up", 5), ("down", 7)}


@pytest.mark.parametrize("kind", [GrpcRelay, TcpRelay])
def test_a_port_that_is_taken(
    listen: Callable[..., Any], tmp_path: Path, kind: type[GrpcRelay] | type[TcpRelay]
) -> None:
    relay, _ = listen("127.0.0.1:1", kind)
    tap = CaptureWriter(tmp_path / "other", "relay")
    with pytest.raises(BadInput, match=f"--listen {relay.address}: cannot bind"):
        kind(relay.address, "127.0.0.1:1", tap=tap)
    tap.close()
