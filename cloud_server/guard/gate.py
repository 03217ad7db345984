"""In front of every method: who may enter, how long a message may take to arrive, and a reply to be
taken.

Every call is taken as a stream, which on the wire it is. gRPC's own unary handlers hold a thread
until the message is there; who never sends it would hold it for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from cloud_server.guard.admission import Admission, Stay
from cloud_server.guard.limits import Exhausted, Limits
from cloud_server.guard.patience import Patience
from splitlab.wire import refusals
from splitlab.wire.messages import tells_error


class Gate(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """
    A message larger than gRPC accepts is refused by gRPC with RESOURCE_EXHAUSTED, and gRPC does not
    say so here: it looks like one whose peer hung up before it had arrived. Both are told as
    `unread` where it was a call's first, and their calls end as CANCELLED.

    Args:
        limits: what is granted.
        largest: bytes that the largest message takes.
        ended: told of every call's method and code.
        per_byte: bytes that a byte of a message takes until the reply is there, itself included.
        refused: told of every refusal's reason and peer; beside those of `splitlab.wire.refusals`
            there are `idle` (ended for another host), `patience` (kept the server waiting) and
            `unread`.
    """

    def __init__(
        self,
        limits: Limits,
        largest: int,
        ended: Callable[[str, str], None],
        per_byte: float = 1.0,
        refused: Callable[[str, str], None] = lambda _reason, _peer: None,
    ) -> None:
        self.admission = Admission(limits, largest, lambda peer: refused("idle", peer))
        self._limits, self._ended, self._per_byte = limits, ended, per_byte
        self._refused = refused
        self.patience = Patience(limits.patience)

    def close(self) -> None:
        """End the watch over calls."""
        self.patience.close()

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        handler = continuation(handler_call_details)
        if handler is None:
            return None

        method = handler_call_details.method

        def admitted(messages: Iterator[Any], context: grpc.ServicerContext) -> _Visit:
            peer = context.peer()
            try:
                stay = self.admission.enter(
                    peer, stream=handler.request_streaming, cancel=context.cancel
                )
            except Exhausted as error:
                self._ended(method, grpc.StatusCode.RESOURCE_EXHAUSTED.name)
                if not error.told:
                    self._refused(error.reason, peer)
                context.set_trailing_metadata(((refusals.HEADER, error.reason),))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            watched = self._watched(messages, context, stay, handler.request_deserializer)
            visit = _Visit(watched, stay)

            def over() -> None:
                stay.leave("call")
                self.patience.remove(visit.writing)
                if not (stay.heard or stay.cut or visit.finished):
                    self._refused("unread", stay.peer)
                self._ended(method, _code(context, visit.finished))

            if not context.add_callback(over):
                over()
            return visit

        def serve_one(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
            visit = admitted(messages, context)
            stay = visit.stay
            try:
                if handler.request_streaming:
                    answer = handler.stream_unary(visit.messages, context)
                else:
                    answer = handler.unary_unary(_only(visit.messages, context), context)
                visit.finished = True
                # gRPC writes it after this; the wait is over with the call, which may be by now.
                stay.hold(_size(answer))
                visit.writing = self._wait(context, stay)
                if "call" not in stay.parts:
                    self.patience.remove(visit.writing)
                return answer
            finally:
                stay.leave("thread")

        def serve_many(messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            visit = admitted(messages, context)
            try:
                if handler.request_streaming:
                    replies = handler.stream_stream(visit.messages, context)
                else:
                    # Nothing more comes from this peer, so that only its end could be waited for.
                    replies = handler.unary_stream(_only(visit.messages, context), context)
                    visit.writing = self.patience.add(context, self._limits.seconds)
                for reply in replies:
                    visit.stay.hold(_size(reply))
                    visit.stay.fresh = not visit.stay.stream or _is_answer(reply)
                    with self._waiting(context, visit.stay):  # gRPC comes back when it is written
                        yield reply
                visit.finished = True
            finally:
                visit.stay.leave("thread")

        if handler.response_streaming:
            made, serve = grpc.stream_stream_rpc_method_handler, serve_many
        else:
            made, serve = grpc.stream_unary_rpc_method_handler, serve_one
        return made(serve, None, handler.response_serializer)

    def _watched(
        self,
        messages: Iterator[bytes],
        context: grpc.ServicerContext,
        stay: Stay,
        parse: Callable[[bytes], Any] | None,
    ) -> Iterator[Any]:
        while True:
            with self._waiting(context, stay):
                message = next(messages, None)
            if message is None:
                return
            stay.heard, stay.fresh = True, not stay.stream
            stay.hold(math.ceil(self._per_byte * _size(message)))
            once = [message if parse is None else _parsed(message, parse, context)]
            del message  # it would be kept here for as long as the call is
            yield once.pop()

    def _wait(self, context: grpc.ServicerContext, stay: Stay) -> int:
        """The server begins to wait for a peer; the wait's number."""

        def late() -> None:
            if not stay.cut:
                self._refused("patience", stay.peer)
            stay.cut = True

        stay.idle(True)
        return self.patience.add(context, late=late)

    @contextmanager
    def _waiting(self, context: grpc.ServicerContext, stay: Stay) -> Iterator[None]:
        number = self._wait(context, stay)
        try:
            yield
        finally:
            self.patience.remove(number)
            stay.idle(False)


def _parsed(message: bytes, parse: Callable[[bytes], Any], context: grpc.ServicerContext) -> Any:
    """A message, or the call's end where it is none.

    Not left to gRPC: it would end the call by itself, the handler that waits for the message could
    but end it once more, and calls that were ended twice are kept for ever, on their connection and
    in memory; it would log a traceback for each; and a server's stop would wait for such streams
    without end.
    """
    try:
        return parse(message)
    except DecodeError as error:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the message cannot be read ({error})")


def _size(message: Any) -> int:
    """Bytes of a message, serialised or not."""
    return len(message) if isinstance(message, bytes) else int(message.ByteSize())


def _is_answer(reply: Any) -> bool:
    """Whether a stream's reply answers a message rightly, and is more than words about a server."""
    return isinstance(reply, bytes) and not tells_error(reply)


def _code(context: grpc.ServicerContext, finished: bool) -> str:
    """How a call ended; gRPC itself keeps no code of one that went well or was cancelled."""
    code = context.code()  # type: ignore[attr-defined]
    if code is None:
        code = grpc.StatusCode.OK if finished else grpc.StatusCode.CANCELLED
    return str(code.name)


def _only(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
    """The one message of a call whose handler takes no stream."""
    message = next(messages, None)
    if message is None:
        context.abort(grpc.StatusCode.CANCELLED, "the request never arrived")
    return message


@dataclass
class _Visit:
    """A call that was admitted.

    Args:
        messages: of its peer.
        stay: its share of what is granted.
        writing: of the patience that ends with the call; None where it has not begun.
        finished: whether its handler came to its end.
    """

    messages: Iterator[Any]
    stay: Stay
    writing: int | None = None
    finished: bool = False
