"""Streams carry micro-batches; whatever they cannot do, a call does, and no answer is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import torch
from halves import Client, Server, images

from cloud_server.engines.engine import Engine
from cloud_server.guard.limits import Limits
from cloud_server.handler import Handler
from edge_client import lanes
from edge_client.client import EdgeClient
from splitlab.errors import ServerRefused, ServerUnavailable
from splitlab.wire.framing import join
from splitlab.wire.messages import INFER, STREAM_REPLY, stream_error

Serve = Callable[..., Any]
Answer = Callable[[bytes, grpc.ServicerContext], bytes]


class Streaming:
    """A server that answers calls as ours does, and streams as it is told."""

    def __init__(self, answer: Answer) -> None:
        half = Server()
        self._engine = Engine(list(half.bodies), half.feature.shape, name="plain")
        self.handler, self._answer = Handler(half, self._engine), answer
        self.seen: Counter[str] = Counter()
        self._server = grpc.server(ThreadPoolExecutor(12))
        plain = {
            name: grpc.unary_unary_rpc_method_handler(
                lambda _request, _context, tell=tell: tell().SerializeToString()
            )
            for name, tell in (
                ("ServerMetadata", self.handler.server_metadata),
                ("ModelMetadata", self.handler.model_metadata),
            )
        }
        raw = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(self._call),
            "ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream),
        }
        service = INFER.split("/")[1]
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {**plain, **raw}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def _call(self, raw: bytes, _context: grpc.ServicerContext) -> bytes:
        self.seen["calls"] += 1
        return self.handler.infer(raw).reply

    def _stream(self, raws: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self.seen["streams"] += 1
        for raw in raws:
            self.seen["messages"] += 1
            yield self._answer(raw, context)

    def stop(self) -> None:
        self._server.stop(None).wait()
        self._engine.close()


@pytest.fixture
def streaming() -> Iterator[Callable[[Answer], Streaming]]:
    made: list[Streaming] = []

    def make(answer: Answer) -> Streaming:
        made.append(Streaming(answer))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def test_one_stream_serves_many_requests(streaming: Callable[[Answer], Streaming]) -> None:
    server = streaming(lambda raw, _: server.handler.infer(raw, streamed=True).reply)
    with EdgeClient(Client(), [server.address], window=1) as client:
        results = [client.infer(images(20)) for _ in range(3)]
    assert server.seen == {"streams": 1, "messages": 9}
    assert all(result.retries == 0 for result in results)


def test_streams_and_calls_give_the_same(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(Server())
    with EdgeClient(Client(), [server.address]) as client:
        streamed = client.infer(images(50), request_id="0" * 32)
    monkeypatch.setattr(lanes, "LANES_AT_MOST", 0)
    with EdgeClient(Client(), [server.address]) as client:
        called = client.infer(images(50), request_id="0" * 32)
    assert torch.equal(streamed.logits, called.logits)
    assert streamed.payload_down == called.payload_down


def test_an_error_without_a_status_is_asked_again_as_a_call(
    streaming: Callable[[Answer], Streaming],
) -> None:
    """Another server of the protocol, Triton for one, tells no more than words in a stream."""
    server = streaming(lambda _raw, _context: stream_error("not now", "id"))
    with EdgeClient(Client(), [server.address], window=1) as client:
        result = client.infer(images(20))
    assert server.seen == {"streams": 1, "messages": 3, "calls": 3}
    assert result.bytes_resent > 0
    assert result.retries == 3


def test_an_error_with_a_status_is_told_as_it_is(
    streaming: Callable[[Answer], Streaming],
) -> None:
    server = streaming(lambda _raw, _: stream_error("too much of it", "id", "RESOURCE_EXHAUSTED"))
    with (
        EdgeClient(Client(), [server.address]) as client,
        pytest.raises(ServerRefused, match="RESOURCE_EXHAUSTED: too much of it"),
    ):
        client.infer(images(2))
    assert server.seen["calls"] == 0


def test_nonsense_in_a_stream_is_asked_again_as_a_call(
    streaming: Callable[[Answer], Streaming],
) -> None:
    server = streaming(lambda _raw, _context: b"\xff\xff")
    with EdgeClient(Client(), [server.address]) as client:
        assert torch.isfinite(client.infer(images(3)).logits).all()


@pytest.mark.parametrize("code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.CANCELLED])
def test_a_stream_that_ends_leaves_its_message_to_a_call(
    streaming: Callable[[Answer], Streaming], code: grpc.StatusCode
) -> None:
    server = streaming(lambda _raw, context: context.abort(code, "as told"))
    with EdgeClient(Client(), [server.address], window=1) as client:
        client.infer(images(20))
        client.infer(images(20))
    again = 6 if code is grpc.StatusCode.CANCELLED else 1
    assert server.seen == {"streams": again, "messages": again, "calls": 6}


def test_a_server_without_room_for_streams_is_sent_calls(serve: Serve) -> None:
    server = serve(Server(), limits=Limits(streams=1))
    with (
        EdgeClient(Client(), [server.address]) as first,
        EdgeClient(Client(), [server.address]) as second,
    ):
        wanted = first.infer(images(40), request_id="1" * 32)
        given = second.infer(images(40), request_id="1" * 32)
    assert torch.equal(wanted.logits, given.logits)


def test_a_stream_that_stood_idle_too_long_is_opened_anew(serve: Serve) -> None:
    server = serve(Server(), limits=Limits(patience=0.3))
    with EdgeClient(Client(), [server.address]) as client:
        before = client.infer(images(2))
        threading.Event().wait(1.0)  # the server's patience ends, and its watch looks each 0.25 s
        after = client.infer(images(2), request_id=before.request_id)
    assert torch.equal(before.logits, after.logits)


def test_an_answer_that_never_comes_ends_with_the_deadline(
    streaming: Callable[[Answer], Streaming],
) -> None:
    forever = threading.Event()

    def wait(_raw: bytes, context: grpc.ServicerContext) -> bytes:
        context.add_callback(forever.set)
        forever.wait(60)
        return b""

    server = streaming(wait)
    with (
        EdgeClient(Client(), [server.address], deadline_s=0.3, retries=0) as client,
        pytest.raises(ServerUnavailable, match=r"did not answer within 0\.3 s"),
    ):
        client.infer(images(2))
    assert forever.wait(10), "the stream was not given up"


def carried(seconds: float = 10.0) -> tuple[lanes.LaneReply, list[Any]]:
    """A message and the calls that it made."""
    calls: list[Any] = []

    def call(raw: bytes, left: float) -> Any:
        assert left > 0
        calls.append(raw)
        raise ValueError("Cannot invoke RPC: Channel closed!")

    return lanes.LaneReply(b"raw", seconds, call), calls


def test_who_waits_is_told_when_the_client_was_closed() -> None:
    pending, calls = carried()
    pending.send_as_call()
    assert calls == [b"raw"]
    with pytest.raises(grpc.RpcError, match="the client was closed"):
        pending.result()


def test_an_answered_message_does_not_end_the_stream_that_carries_the_next() -> None:
    class Carrier:
        ended = False

        def abandon(self, _pending: object) -> None:
            self.ended = True

    pending, _ = carried()
    carrier = Carrier()
    pending.on(carrier)  # type: ignore[arg-type]
    pending.answer(b"reply")
    assert not pending.cancel()
    assert not carrier.ended
    assert pending.result() == b"reply"
    given_up, calls = carried()
    given_up.on(carrier)  # type: ignore[arg-type]
    assert given_up.cancel()
    assert carrier.ended
    given_up.send_as_call()
    assert calls == []


def test_streams_are_tried_again_after_a_server_had_no_room(
    streaming: Callable[[Answer], Streaming], monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]

    def answer(raw: bytes, context: grpc.ServicerContext) -> bytes:
        if full[0]:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room")
        return server.handler.infer(raw, streamed=True).reply

    server = streaming(answer)
    with EdgeClient(Client(), [server.address], window=1) as client:
        client.infer(images(10))
        assert server.seen == {"streams": 1, "messages": 1, "calls": 2}
        full[0] = False
        monkeypatch.setattr(client._transports[0]._lanes, "_refused_until", 0.0)
        client.infer(images(10))
    assert server.seen == {"streams": 2, "messages": 3, "calls": 2}


def test_a_lane_is_free_before_its_answer_wakes_who_waits() -> None:
    """Otherwise the next message finds no free stream and opens another."""
    told: list[str] = []
    over = threading.Event()

    class Stream:
        def __init__(self, raws: Iterator[bytes]) -> None:
            self._raws = raws

        def __iter__(self) -> Iterator[bytes]:
            return (join(b"", STREAM_REPLY, [raw]) for raw in self._raws)

        def cancel(self) -> None:
            over.set()

    lane = lanes.Lane(Stream, lambda _: told.append("free"), lambda _: None)
    pending, _ = carried()
    pending.add_done_callback(lambda _: told.append("answered"))
    assert lane.send(pending)
    assert pending.result(10) == b"raw"
    lane.finish()
    assert over.wait(10)
    assert told == ["free", "answered"]
