"""A peer that keeps the server waiting, for its words or with its ears shut, is let go."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from cloud_server.guard.gate import Gate
from cloud_server.guard.limits import Exhausted, Limits
from cloud_server.server import CloudServer
from cloud_server.watch.health import OF_ONE_HOST, WATCHES, Health
from splitlab.wire import refusals
from splitlab.wire.messages import SERVICE, stream_error

SECONDS = 120
NEVER = Limits(memory=1000, patience=1e6, seconds=1e6)
AT_ONCE = Limits(memory=1000, patience=0.0, seconds=0.0)


class Call:
    """As much of gRPC's context as the gate and health meet."""

    def __init__(self, peer: str = "ipv4:192.0.2.1:1000") -> None:
        self._peer, self.cancelled = peer, threading.Event()
        self.callbacks: list[Callable[[], None]] = []

    def peer(self) -> str:
        return self._peer

    def code(self) -> None:
        return None

    def add_callback(self, callback: Callable[[], None]) -> bool:
        self.callbacks.append(callback)
        return True

    def cancel(self) -> None:
        self.cancelled.set()

    def set_trailing_metadata(self, _: Any) -> None:
        pass

    def abort(self, code: grpc.StatusCode, words: str) -> None:
        raise RuntimeError(code, words)

    def end(self) -> None:
        for callback in self.callbacks:
            callback()


def passed(limits: Limits, handler: Any, per_byte: float = 1.0) -> tuple[Gate, Any]:
    """A gate with messages of at most 100 bytes, and the handler as it leaves it."""
    gate = Gate(limits, 100, lambda _method, _code: None, per_byte)
    details: Any = SimpleNamespace(method="/a/b")
    return gate, gate.intercept_service(lambda _: handler, details)


def stream(limits: Limits) -> tuple[Gate, Any]:
    """Each message is answered with ten times as many bytes."""
    many = grpc.stream_stream_rpc_method_handler(
        lambda messages, _: (10 * message for message in messages)
    )
    return passed(limits, many)


def test_a_reply_of_a_stream_is_waited_for_and_counted_until_it_is_taken() -> None:
    gate, served = stream(NEVER)
    context = Call()
    replies = served.stream_stream(iter([b"a" * 30, b"b"]), context)
    assert len(next(replies)) == 300
    assert len(gate.patience._waiting) == 1
    assert gate.admission.open == (1, 300)
    assert next(replies) == b"b" * 10
    assert gate.admission.open == (1, 100)
    assert next(replies, None) is None
    assert not gate.patience._waiting
    context.end()
    assert gate.admission.open == (0, 0)
    gate.close()


def test_a_reply_of_a_stream_that_is_never_taken_ends_the_call() -> None:
    gate, served = stream(AT_ONCE)
    context = Call()
    replies = served.stream_stream(iter([b"a"]), context)
    next(replies)
    assert context.cancelled.wait(SECONDS)
    del replies
    gate.close()


def test_only_a_right_answer_begins_a_streams_wait_anew() -> None:
    replies = {b"right": b"\x12\x00", b"wrong": stream_error("no", "1"), b"about": Message()}
    many = grpc.stream_stream_rpc_method_handler(
        lambda messages, _: (replies[message] for message in messages)
    )
    gate, served = passed(NEVER, many)
    context = Call()
    answers = served.stream_stream(iter([b"right", b"wrong", b"about", b"right"]), context)
    found = []
    for _ in answers:
        (stay,) = gate.admission._idle
        found.append(stay.fresh)
    assert found == [True, False, False, True]
    context.end()
    gate.close()


def test_what_was_counted_is_not_counted_again() -> None:
    """A stream that ends without a message went well; a call that was ended while it waited for
    room was counted as idle.
    """
    told: list[str] = []
    many = grpc.stream_stream_rpc_method_handler(lambda messages, _: iter(list(messages)))
    gate = Gate(NEVER, 100, lambda *_: None, refused=lambda reason, _peer: told.append(reason))
    details: Any = SimpleNamespace(method="/a/b")
    context = Call()
    served: Any = gate.intercept_service(lambda _: many, details)
    assert list(served.stream_stream(iter([]), context)) == []
    context.end()
    assert told == []

    def ended(*_: Any, **__: Any) -> Any:
        refusal = Exhausted(refusals.MEMORY, "no room")
        refusal.told = True
        raise refusal

    gate.admission.enter = ended  # type: ignore[method-assign]
    context = Call()
    with pytest.raises(RuntimeError, match="no room"):
        list(served.stream_stream(iter([]), context))
    assert told == []
    gate.close()


def one(limits: Limits) -> tuple[Gate, Any]:
    return passed(limits, grpc.unary_unary_rpc_method_handler(lambda message, _: 5 * message))


def test_a_reply_of_a_call_is_waited_for_until_the_call_ends() -> None:
    gate, served = one(NEVER)
    context = Call()
    assert served.stream_unary(iter([b"abcd"]), context) == b"abcd" * 5
    assert len(gate.patience._waiting) == 1
    assert gate.admission.open == (1, 20)
    context.end()
    assert not gate.patience._waiting
    assert gate.admission.open == (0, 0)
    gate.close()


def test_a_message_takes_the_room_of_its_decoded_values_too() -> None:
    """2.5 bytes for each of its own, as long as it waits and runs; then those of its reply."""
    seen = []

    def answer(message: bytes, _: Call) -> bytes:
        seen.append(gate.admission.open)
        return message

    gate, served = passed(NEVER, grpc.unary_unary_rpc_method_handler(answer), per_byte=2.5)
    context = Call()
    served.stream_unary(iter([b"abc"]), context)
    assert seen == [(1, 8)]
    assert gate.admission.open == (1, 3)
    context.end()
    gate.close()


class Message:
    """One that can be watched."""

    def ByteSize(self) -> int:  # noqa: N802
        return 1


def test_a_message_is_gone_when_its_reply_is_there() -> None:
    there: list[weakref.ref[Message]] = []

    def answer(message: Message, _: Call) -> bytes:
        there.append(weakref.ref(message))
        return b"well"

    gate, served = passed(NEVER, grpc.unary_unary_rpc_method_handler(answer))
    context = Call()
    served.stream_unary(map(lambda _: Message(), range(1)), context)  # noqa: C417
    assert there[0]() is None
    context.end()
    gate.close()


def test_a_call_that_ended_meanwhile_is_not_waited_for() -> None:
    gate, served = passed(
        NEVER, grpc.unary_unary_rpc_method_handler(lambda message, call: call.end() or message)
    )
    served.stream_unary(iter([b"a"]), Call())
    assert not gate.patience._waiting
    gate.close()


def test_a_reply_of_a_call_that_is_never_taken_ends_it() -> None:
    gate, served = one(AT_ONCE)
    context = Call()
    served.stream_unary(iter([b"a"]), context)
    assert context.cancelled.wait(SECONDS)
    gate.close()


def test_a_watch_ends_after_a_while() -> None:
    """Nothing more comes from its peer, and nothing need ever go to it."""
    silence = threading.Event()

    def watch(_request: bytes, _context: Call) -> Iterator[bytes]:
        yield b"well"
        silence.wait(SECONDS)

    gate, served = passed(
        Limits(memory=1000, patience=1e6, seconds=0.0), grpc.unary_stream_rpc_method_handler(watch)
    )
    context = Call()
    replies = served.stream_stream(iter([b""]), context)
    assert next(replies) == b"well"
    assert context.cancelled.wait(SECONDS)
    silence.set()
    gate.close()


def test_watches_are_few_of_a_host_and_of_all() -> None:
    health = Health()
    request = health_pb2.HealthCheckRequest()
    calls = []

    def watch(host: int) -> None:
        context = Call(f"ipv4:192.0.2.{host}:{1000 + len(calls)}")
        assert next(health.Watch(request, context)).status == health_pb2.HealthCheckResponse.SERVING
        calls.append(context)

    for host in range(WATCHES // OF_ONE_HOST):
        for _ in range(OF_ONE_HOST):
            watch(host)
        with pytest.raises(RuntimeError, match="ask Check"):
            watch(host)
    with pytest.raises(RuntimeError, match="ask Check"):
        watch(200)
    calls[0].end()
    watch(200)
    for call in calls[1:]:
        call.end()
    assert not health._watches


def test_too_many_watches_are_refused_over_a_socket_and_checks_are_not(
    serve: Callable[..., CloudServer],
) -> None:
    server = serve()
    request = health_pb2.HealthCheckRequest(service=SERVICE)
    with grpc.insecure_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(request, timeout=SECONDS) for _ in range(OF_ONE_HOST)]
        for watch in watches:
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as refused:
            next(stub.Watch(request, timeout=SECONDS))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Check(request).status == health_pb2.HealthCheckResponse.SERVING
        for watch in watches:
            watch.cancel()
