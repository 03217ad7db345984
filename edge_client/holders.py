"""Servers with the same bodies: a request goes to one of them, and on to another if that one fails.

Without replicas there is one holder of each body, and this is one server with its retries.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from time import sleep
from typing import Any

import grpc

from edge_client.transport import STALL_S, Transport, pause
from splitlab.errors import BadInput, Mismatch, ServerUnavailable
from splitlab.wire.framing import Buffer

GONE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
)
"""A server that answers so is dead, slow or stopping: another holder of its bodies is asked."""


class Holders:
    """Servers that hold the same bodies; micro-batches take turns at those that work.

    Args:
        transports: at least one, after their handshakes, all with the same outputs.
    """

    def __init__(self, transports: Sequence[Transport]) -> None:
        self._transports = tuple(transports)
        self._turns = itertools.count()
        self.outputs = self._transports[0].outputs

    def start(self, raw: bytes) -> HeldCall:
        """Send a serialised request, to be waited for with `HeldCall.result`."""
        return HeldCall(self, raw)

    def order(self) -> list[Transport]:
        """Whom to ask first, second, ...: in turns, and last those that have just failed."""
        turn = next(self._turns) % len(self._transports)
        turned = (*self._transports[turn:], *self._transports[:turn])
        return sorted(turned, key=lambda transport: transport.resting)

    @property
    def attempts(self) -> int:
        """How often one request is sent at most: once to each, and the further attempts."""
        return len(self._transports) + self._transports[0].retries

    def explain(self, error: grpc.RpcError, transport: Transport, attempts: int) -> Exception:
        """The lab's error for the last failure of a request."""
        told = transport.explain(error, attempts if len(self._transports) == 1 else 1)
        if len(self._transports) == 1 or error.code() not in GONE:
            return told
        names = ", ".join(transport.address for transport in self._transports)
        held = ", ".join(self.outputs)
        return ServerUnavailable(
            f"{held}: no holder ({names}) answered, {attempts} attempts; the last: {told}"
        )


class HeldCall:
    """One request under way; the bytes are made once and never again, whoever is sent them.

    Attributes:
        attempts: to have them answered.
        failed: addresses of those that did not answer, one for each failed attempt.
        transport: who was asked last.
        started: when it was last sent, on `time.perf_counter`'s clock.
        seconds: from the last sending to its answer, once `result` returned.
        lost_seconds: from the first sending to the last, 0 where one was enough.
    """

    def __init__(self, holders: Holders, raw: bytes) -> None:
        self._holders, self.raw = holders, raw
        self.attempts, self.seconds, self.lost_seconds = 0, 0.0, 0.0
        self._further = 0
        self.failed: list[str] = []
        self._left = holders.order()
        self._first = time.perf_counter()
        self._send()

    def result(self) -> Buffer:
        """Wait for the answer.

        Raises:
            ServerUnavailable: no answer, after the last attempt or the deadline.
            ServerRefused, Mismatch: an answer that says no.
        """
        while True:
            try:
                reply: Buffer = self._future.result(timeout=STALL_S)
            except grpc.FutureTimeoutError:
                self.transport.stalls()
                continue
            except grpc.RpcError as error:
                self._go_on(error)
                continue
            self.transport.works()
            self._count_further()
            # gRPC may wake the caller before it calls back
            self.seconds = (self._ended or time.perf_counter()) - self.started
            if self.failed:
                self.lost_seconds = self.started - self._first
            return reply

    @property
    def resent(self) -> int:
        """How often the bytes were sent again, known once `result` returned."""
        return self.attempts - 1 + self._further

    @property
    def total_seconds(self) -> float:
        """From the first sending to the answer."""
        return self.lost_seconds + self.seconds

    def cancel(self) -> None:
        """Give up on it."""
        self._future.cancel()

    def _go_on(self, error: grpc.RpcError) -> None:
        """Send it to the next holder at once, or after a pause to all again; or raise."""
        code = error.code()
        self._count_further()
        self.failed.append(self.transport.address)
        more = bool(self._left) or code is grpc.StatusCode.UNAVAILABLE
        if code not in GONE or not more or self.attempts >= self._holders.attempts:
            raise self._holders.explain(error, self.transport, self.attempts) from error
        self.transport.rest(error)
        if not self._left:
            sleep(pause(self.attempts))
            self._left = self._holders.order()
        self._send()

    def _count_further(self) -> None:
        """A stream's message that had to become a call was sent twice in one attempt."""
        self._further += getattr(self._future, "sent", 1) - 1

    def _send(self) -> None:
        self.attempts += 1
        self.transport = self._left.pop(0)
        self.started, self._ended = time.perf_counter(), 0.0
        self._future = self.transport.send(self.raw)
        self._future.add_done_callback(self._note_end)

    def _note_end(self, future: Any) -> None:
        if future is self._future:
            self._ended = time.perf_counter()


def group(transports: Sequence[Transport], wanted: Sequence[str], replicas: bool) -> list[Holders]:
    """Group servers by the bodies that they hold; together they hold each output once.

    Args:
        transports: after their handshakes, each with the outputs that it holds.
        wanted: names of all outputs.
        replicas: whether servers with the same bodies are wanted.

    Raises:
        Mismatch: an output that nobody holds, or that more than one group does.
    """
    groups: dict[tuple[str, ...], list[Transport]] = {}
    holders: dict[str, Transport] = {}
    for transport in transports:
        same = groups.setdefault(transport.outputs, [])
        for name in transport.outputs:
            other = holders.setdefault(name, transport)
            if other is transport or (replicas and same):
                continue
            advice = (
                "replicas must hold the same bodies, all of them"
                if replicas
                else "give servers with different bodies of one deployment, or say --replicas"
            )
            raise Mismatch(
                f"{name} is held by {other.address} and by {transport.address}; {advice}"
            )
        same.append(transport)
    if missing := [name for name in wanted if name not in holders]:
        raise Mismatch(
            f"no server holds {', '.join(missing)}; name the others with further --server"
        )
    return [Holders(same) for outputs, same in groups.items() if outputs]


def distinct(addresses: Sequence[str]) -> None:
    """Refuse an address that is given twice as its own replica.

    Raises:
        BadInput: naming it.
    """
    for number, address in enumerate(addresses):
        if address in addresses[:number]:
            raise BadInput(f"--server {address} is given twice; a replica is another server")
