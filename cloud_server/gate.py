"""In front of every method: who may enter, and how long a message may take to arrive.

Every call is taken as a stream, which on the wire it is. gRPC's own unary handlers hold a thread
until the message is there; who never sends it would hold it for ever.
"""

from __future__ import annotations

import itertools
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
        largest: bytes of the largest message.
        ended: told of every call's method and code.
    """

    def __init__(self, limits: Limits, largest: int, ended: Callable[[str, str], None]) -> None:
        self.admission = Admission(limits, largest)
        self._ended = ended
        self._patience = Patience(limits.patience)

    def close(self) -> None:
        """End the watch over calls."""
        self._patience.close()

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
            visit = _Visit(self._watched(messages, context, stay))

            def leave() -> None:
                stay.leave()
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
            return answer

        def serve_many(messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            visit = admitted(messages, context)
            if handler.request_streaming:
                yield from handler.stream_stream(visit.messages, context)
            else:
                yield from handler.unary_stream(_only(visit.messages, context), context)
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
            with self._patience.with_(context):
                message = next(messages, None)
            if message is None:
                return
            stay.read(len(message) if isinstance(message, bytes) else message.ByteSize())
            yield message


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
    """A call that was admitted, and whether its handler came to its end."""

    messages: Iterator[Any]
    finished: bool = False


class Patience:
    """Cancels calls whose next message does not arrive in time; one thread watches over all.

    Args:
        seconds: how long one may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock, self._over = threading.Lock(), threading.Event()
        self._waiting: dict[int, tuple[float, grpc.ServicerContext]] = {}
        self._numbers = itertools.count()
        self._thread = threading.Thread(target=self._watch, name="patience", daemon=True)
        self._thread.start()

    def with_(self, context: grpc.ServicerContext) -> _Waiting:
        """A context manager around the wait for a message."""
        return _Waiting(self, context)

    def add(self, context: grpc.ServicerContext) -> int:
        number = next(self._numbers)
        with self._lock:
            self._waiting[number] = time.monotonic() + self._seconds, context
        return number

    def remove(self, number: int) -> None:
        with self._lock:
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
