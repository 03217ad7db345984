"""Streams that stay open between micro-batches: the fast way of a request to its server.

A call of its own for every message costs headers, a trailer and a fresh HTTP/2 window each time;
at 1 MiB that is a third of the time on the way. A lane is one ModelStreamInfer call that carries
one message at a time, so that a reply needs no looking for. Whatever a stream cannot tell (another
server's error, which has no status) or does not do (no streams there, or no room for another) goes
the ordinary way, ModelInfer, with the same bytes.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from queue import SimpleQueue
from typing import Any

import grpc

from edge_client.failures import CallFailed
from splitlab.errors import BadInput
from splitlab.wire.framing import Buffer
from splitlab.wire.messages import CODE, Reply, from_stream_message

LANES_AT_MOST = 8
LAST_WORD_SECONDS = 1.0
REFUSED_SECONDS = 30.0
"""For so long no stream is tried after a server had no room for one."""
FOR_GOOD = (
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)
RAISED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""Ends of a stream that are the server's failure; after any other the message is sent as a call."""
MOMENTARY = (grpc.StatusCode.OK, grpc.StatusCode.CANCELLED, *RAISED)
"""Ends of a stream after which another may be opened at once."""


class LaneReply:
    """What gRPC's future is for a message on a lane.

    Attributes:
        sent: how often the bytes were sent; twice where they had to become a call.
    """

    def __init__(self, raw: bytes, seconds: float, call: Callable[[bytes, float], Any]) -> None:
        self.raw, self.sent = raw, 1
        self._until, self._call = time.monotonic() + seconds, call
        self._inside: Future[Buffer] = Future()
        self._lane: Lane | None = None
        self._fallback: Any = None

    def on(self, lane: Lane) -> None:
        self._lane = lane

    def result(self, timeout: float | None = None) -> Buffer:
        """The serialised reply.

        Raises:
            grpc.FutureTimeoutError: not within `timeout` seconds.
            grpc.RpcError: the attempt failed.
        """
        left = self._until - time.monotonic()
        try:
            return self._inside.result(left if timeout is None else min(timeout, left))
        except NotYet as error:
            if self._until > time.monotonic():
                raise grpc.FutureTimeoutError from error
            self.cancel()
            late = "the deadline passed while the answer was waited for"
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, late) from error

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._inside.add_done_callback(lambda _: callback(self))

    def cancel(self) -> bool:
        """Give up on it; the stream that still carries it ends with it."""
        if not self._inside.cancel():
            return False  # answered: its lane may carry another by now
        if self._lane is not None:
            self._lane.abandon(self)
        if self._fallback is not None:
            self._fallback.cancel()
        return True

    def answer(self, reply: Buffer) -> None:
        if self._inside.set_running_or_notify_cancel():
            self._inside.set_result(reply)

    def fail(self, error: grpc.RpcError) -> None:
        if self._inside.set_running_or_notify_cancel():
            self._inside.set_exception(error)

    def send_as_call(self) -> None:
        """The stream could not tell: ask again with a call, whose status says what is wrong."""
        if self._inside.cancelled():
            return
        self.sent += 1
        try:
            call = self._call(self.raw, max(0.001, self._until - time.monotonic()))
        except ValueError:  # gRPC's word for a channel that was closed meanwhile
            self.fail(CallFailed(grpc.StatusCode.CANCELLED, "the client was closed"))
            return
        self._fallback = call
        if self._inside.cancelled():
            call.cancel()
        call.add_done_callback(self._called)

    def _called(self, call: Any) -> None:
        if call.cancelled():
            self._inside.cancel()
        elif (error := call.exception()) is not None:
            self.fail(error)
        else:
            self.answer(call.result())


class Lane:
    """One stream; a thread of its own reads it.

    Args:
        call: iterator of requests -> gRPC's call of ModelStreamInfer.
        free: told when the lane can carry the next message.
        ended: told how the stream ended.
    """

    def __init__(
        self,
        call: Callable[[Iterator[bytes]], Any],
        free: Callable[[Lane], None],
        ended: Callable[[grpc.StatusCode], None],
    ) -> None:
        self._free, self._ended = free, ended
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._lock, self._over = threading.Lock(), False
        self._pending: LaneReply | None = None
        self._call = call(iter(self._outgoing.get, None))
        self._reader = threading.Thread(target=self._read, name="lane", daemon=True)
        self._reader.start()

    def send(self, pending: LaneReply) -> bool:
        """Whether it is on its way; not so on a stream that has ended."""
        with self._lock:
            if self._over:
                return False
            self._pending = pending
        pending.on(self)
        self._outgoing.put(pending.raw)
        return True

    def abandon(self, pending: LaneReply) -> None:
        """End the stream if it still carries this message."""
        with self._lock:
            own = self._pending is pending
        if own:
            self._call.cancel()

    def finish(self) -> None:
        """Say that nothing more comes, and wait a moment for the server to take note."""
        self._outgoing.put(None)
        self._reader.join(LAST_WORD_SECONDS)

    def _read(self) -> None:
        code = grpc.StatusCode.OK
        error: grpc.RpcError | None = None
        try:
            for message in self._call:
                with self._lock:
                    pending, self._pending = self._pending, None
                if pending is None:
                    break  # nobody asked
                # In this order: who is woken by an answer may send the next message at once
                self._free(self)
                _settle(pending, message)
        except grpc.RpcError as raised:
            code, error = raised.code(), raised
        with self._lock:
            self._over, pending = True, self._pending
        self._outgoing.put(None)  # ends the thread in which gRPC waits for messages
        self._call.cancel()
        self._ended(code)
        if pending is None:
            return
        if error is not None and code in RAISED:
            pending.fail(error)
        else:
            pending.send_as_call()


def _settle(pending: LaneReply, message: bytes) -> None:
    """Hand over what came: a reply, an error with its status, or one that a call must tell."""
    try:
        words, reply = from_stream_message(message)
        code = Reply.from_bytes(reply).parameters.get(CODE) if words else None
    except BadInput:
        pending.send_as_call()
        return
    if not words:
        pending.answer(reply)
    elif isinstance(code, str) and code in grpc.StatusCode.__members__:
        pending.fail(CallFailed(grpc.StatusCode[code], words))
    else:
        pending.send_as_call()


class Lanes:
    """All streams to one server, opened when they are needed.

    Args:
        stream: iterator of requests -> gRPC's call of ModelStreamInfer.
        call: (message, seconds) -> gRPC's future of ModelInfer.
    """

    def __init__(
        self, stream: Callable[[Iterator[bytes]], Any], call: Callable[[bytes, float], Any]
    ) -> None:
        self._stream, self._call = stream, call
        self._lock = threading.Lock()
        self._idle: list[Lane] = []
        self._open, self._refused_until = 0, 0.0

    def send(self, raw: bytes, seconds: float) -> Any:
        """Send a message on a free lane, or as a call; returns what does as gRPC's future."""
        pending = LaneReply(raw, seconds, self._call)
        while (lane := self._lane()) is not None:
            if lane.send(pending):
                return pending
        return self._call(raw, seconds)

    def close(self) -> None:
        """End the streams that carry nothing; closing the channel ends the others."""
        with self._lock:
            idle, self._idle, self._refused_until = self._idle, [], math.inf
        for lane in idle:
            lane.finish()

    def _lane(self) -> Lane | None:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if time.monotonic() < self._refused_until or self._open >= LANES_AT_MOST:
                return None
            self._open += 1
        return Lane(self._stream, self._freed, self._ended)

    def _freed(self, lane: Lane) -> None:
        with self._lock:
            self._idle.append(lane)

    def _ended(self, code: grpc.StatusCode) -> None:
        with self._lock:
            self._open -= 1
            if code in FOR_GOOD:
                self._refused_until = math.inf
            elif code not in MOMENTARY:
                until = time.monotonic() + REFUSED_SECONDS
                self._refused_until = max(self._refused_until, until)
