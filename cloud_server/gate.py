"""In front of every method: who may enter, how long a message may take to arrive, and a reply to be
taken.

Every call is taken as a stream, which on the wire it is. gRPC's own unary handlers hold a thread
until the message is there; who never sends it would hold it for ever.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc

from cloud_server.limits import Admission, Exhausted, Limits, Stay

TICK_SECONDS = 0.25


class Gate(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """
    Args:
        limits: what is granted.
        largest: bytes that the largest message takes.
        ended: told of every call's method and code.
        per_byte: bytes that a byte of a message takes until the reply is there, itself included.
    """

    def __init__(
        self,
        limits: Limits,
        largest: int,
        ended: Callable[[str, str], None],
        per_byte: float = 1.0,
    ) -> None:
        self.admission = Admission(limits, largest)
        self._limits, self._ended, self._per_byte = limits, ended, per_byte
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
            try:
                stay = self.admission.enter(context.peer(), stream=handler.request_streaming)
            except Exhausted as error:
                self._ended(method, grpc.StatusCode.RESOURCE_EXHAUSTED.name)
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
            visit = _Visit(self._watched(messages, context, stay), stay)

            def leave() -> None:
                stay.leave()
                self.patience.remove(visit.writing)
                self._ended(method, _code(context, visit.finished))

            if not context.add_callback(leave):
                leave()
            return visit

        def serve_one(messages: Iterator[Any], context: grpc.ServicerContext) -> Any:
            visit = admitted(messages, context)
            if handler.request_streaming:
                answer = handler.stream_unary(visit.messages, context)
            else:
                answer = handler.unary_unary(_only(visit.messages, context), context)
            visit.finished = True
            # gRPC writes it after this; the wait is over with the call, which may be by now.
            stay = visit.stay
            stay.hold(_size(answer))
            visit.writing = self.patience.add(context)
            if stay.left:
                self.patience.remove(visit.writing)
            return answer

        def serve_many(messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            visit = admitted(messages, context)
            if handler.request_streaming:
                replies = handler.stream_stream(visit.messages, context)
            else:
                # Nothing more comes from this peer, so that only its end could be waited for.
                replies = handler.unary_stream(_only(visit.messages, context), context)
                visit.writing = self.patience.add(context, self._limits.seconds)
            for reply in replies:
                visit.stay.hold(_size(reply))
                with self.patience.with_(context):  # gRPC comes back when it has written it
                    yield reply
            visit.finished = True

        if handler.response_streaming:
            made, serve = grpc.stream_stream_rpc_method_handler, serve_many
        else:
            made, serve = grpc.stream_unary_rpc_method_handler, serve_one
        return made(serve, handler.request_deserializer, handler.response_serializer)

    def _watched(
        self, messages: Iterator[Any], context: grpc.ServicerContext, stay: Stay
    ) -> Iterator[Any]:
        while True:
            with self.patience.with_(context):
                message = next(messages, None)
            if message is None:
                return
            stay.hold(math.ceil(self._per_byte * _size(message)))
            once = [message]
            del message  # it would be kept here for as long as the call is
            yield once.pop()


def _size(message: Any) -> int:
    """Bytes of a message, serialised or not."""
    return len(message) if isinstance(message, bytes) else int(message.ByteSize())


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


class Patience:
    """Cancels calls whose peer keeps them waiting for too long; one thread watches over all.

    Args:
        seconds: how long a wait may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock, self._over = threading.Lock(), threading.Event()
        self._waiting: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
        self._thread.start()

    def with_(self, context: grpc.ServicerContext) -> _Waiting:
        """A context manager around the wait for a message, or for a reply to be taken."""
        return _Waiting(self, context)

    def add(self, context: grpc.ServicerContext, seconds: float | None = None) -> int:
        """A wait begins, of as many seconds, or as many as all; returns its number."""
        number = next(self._numbers)
        with self._lock:
            until = time.monotonic() + (self._seconds if seconds is None else seconds)
            self._waiting[number] = until, context
        return number

    def remove(self, number: int | None) -> None:
        """It is over; None and what is over already are no mistake."""
        with self._lock:
            if number is not None:
                self._waiting.pop(number, None)

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            now = time.monotonic()
            with self._lock:
                late = [
                    (number, context)
                    for number, (until, context) in self._waiting.items()
                    if until < now
                ]
                for number, _ in late:
                    del self._waiting[number]
            for _, context in late:
                context.cancel()


class _Waiting:
    def __init__(self, patience: Patience, context: grpc.ServicerContext) -> None:
        self._patience, self._context = patience, context

    def __enter__(self) -> None:
        self._number = self._patience.add(self._context)

    def __exit__(self, *_: object) -> None:
        self._patience.remove(self._number)
