"""A link that is not there: messages wait as long as they would on it, in order, each way.

Many small ones overlap as they do on a wire.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import grpc

from edge_client.failures import CallFailed
from edge_client.one_way import OneWay, Wire
from splitlab.contracts.link import Link


def _late() -> CallFailed:
    words = "the deadline passed on the simulated link"
    return CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED, words)


def _closed() -> CallFailed:
    return CallFailed(grpc.StatusCode.CANCELLED, "the client was closed")


class LinkReply:
    """What gRPC's future is for a call over the link."""

    def __init__(self) -> None:
        self.inside: Future[bytes] = Future()
        self.call: Any = None

    def result(self, timeout: float | None = None) -> bytes:
        """The serialised reply.

        Raises:
            grpc.FutureTimeoutError: not within `timeout` seconds.
            grpc.RpcError: the attempt failed.
        """
        try:
            return self.inside.result(timeout)
        except NotYet as error:
            raise grpc.FutureTimeoutError from error

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self.inside.add_done_callback(lambda _: callback(self))

    def cancel(self) -> bool:
        if self.call is not None:
            self.call.cancel()
        return self.inside.cancel()

    def answer(self, reply: bytes) -> None:
        if not self.inside.done() and self.inside.set_running_or_notify_cancel():
            self.inside.set_result(reply)

    def fail(self, error: grpc.RpcError) -> None:
        if not self.inside.done() and self.inside.set_running_or_notify_cancel():
            self.inside.set_exception(error)


class AccessLink:
    """One client's way to all its servers, which share its rates; each has its own connection,
    with windows and losses of its own.

    Args:
        link: what it is like.
    """

    def __init__(self, link: Link) -> None:
        self._link, self._up, self._down = link, Wire(), Wire()
        self._seeds = itertools.count(1)

    def connection(self) -> tuple[OneWay, OneWay]:
        """Up and down, of one server."""
        link = self._link
        return (
            OneWay(link.up, link.rtt, link.loss, next(self._seeds), self._up),
            OneWay(link.down, link.rtt, link.loss, next(self._seeds), self._down),
        )


class SimulatedLink:
    """Between one client and one server.

    Args:
        access: the client's, shared with its other servers.
        send: sends bytes for good within so many seconds; returns gRPC's future.
        deadline: seconds that an attempt may take, the link included.
    """

    def __init__(
        self, access: AccessLink, send: Callable[[bytes, float], Any], deadline: float
    ) -> None:
        self._send, self._deadline = send, deadline
        self._up, self._down = access.connection()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers, self._changed, self._closed = itertools.count(), threading.Condition(), False
        self._open: set[LinkReply] = set()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)
        self._thread.start()

    def send(self, raw: bytes) -> LinkReply:
        """Put it on the link; returns at once. On a link that was closed it has failed by then."""
        pending, started = LinkReply(), time.monotonic()
        until = started + self._deadline
        with self._changed:
            if self._closed:
                pending.fail(_closed())
                return pending
            self._open.add(pending)
            there = self._up.arrival(len(raw), started)
        pending.add_done_callback(self._open.discard)
        self._at(min(there, until), lambda: self._arrived(pending, raw, until, there <= until))
        return pending

    def close(self) -> None:
        """End the link; what is on it is lost, and whoever waits for it is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for pending in list(self._open):
            if pending.call is not None:
                pending.call.cancel()
            pending.fail(_closed())

    def _arrived(self, pending: LinkReply, raw: bytes, until: float, in_time: bool) -> None:
        if pending.inside.cancelled():
            return
        if not in_time:
            pending.fail(_late())
            return
        pending.call = self._send(raw, max(0.001, until - time.monotonic()))
        pending.call.add_done_callback(lambda call: self._answered(pending, call, until))

    def _answered(self, pending: LinkReply, call: Any, until: float) -> None:
        if call.cancelled():
            pending.inside.cancel()
            return
        error = call.exception()
        reply = b"" if error is not None else call.result()
        with self._changed:
            back = self._down.arrival(len(reply), time.monotonic())

        def finish() -> None:
            if error is not None:
                pending.fail(error)
            elif back > until:
                pending.fail(_late())
            else:
                pending.answer(reply)

        self._at(min(back, until), finish)

    def _at(self, when: float, act: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (when, next(self._numbers), act))
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    wait = self._due[0][0] - time.monotonic() if self._due else None
                    self._changed.wait(wait)
                if self._closed:
                    return
                _, _, act = heapq.heappop(self._due)
            act()
