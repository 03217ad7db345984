"""Who gets a place: calls, streams and bytes, counted by host and shared so that others find some.

Dynamic thresholds with factor 1 (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998): a host may hold as
much as it leaves free. Beside it, whoever is let down by an idle call gets its place.

Granted, of T places and with k hosts that take all they get:

- One gets T/2; while none of their calls ends, the next T/4, and so on. As calls end they come down
  to T/(k + 1) each, and as many stay free: a place that was given back goes to a host with few.
- Calls that have waited for their peer, or for room, for more than `IDLE_SECONDS` keep no host out
  that has fewer: the longest idle one of the host that has most is ended for it (CANCELLED), as
  long as that host keeps more than the other then has.

Not granted: anything against T hosts with one call each; a place at once where more than log2(T)
hosts flood with requests that are right, all of which wait for the bodies: then one when some have
been answered. Addresses of one IPv6 /64 are one host.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from cloud_server.limits import Exhausted, Limits, host_of
from splitlab.wire import refusals

IDLE_SECONDS = 1.0
LINGERING = 32
"""Calls that were ended for others and whose threads have not left yet; more are not ended."""
TICK_SECONDS = 0.25

Part = Literal["call", "thread"]


class Stay:
    """One call's share, from its first word until it is over and its thread has left.

    Attributes:
        heard: whether a message of its peer has arrived.
        cut: whether the server itself ended it.
        counted: whether it still holds its share.
    """

    def __init__(
        self, admission: Admission, peer: str, stream: bool, cancel: Callable[[], object]
    ) -> None:
        self._admission, self.peer, self.host = admission, peer, host_of(peer)
        self.stream, self.cancel = stream, cancel
        self.held, self.counted, self.cut, self.heard = 0, True, False, False
        self.parts: set[Part] = {"call", "thread"}

    def hold(self, size: int) -> None:
        """Its message is there and takes `size` bytes, or its reply, which takes that place."""
        self._admission.change(self, size)

    def idle(self, waits: bool) -> None:
        """From now on it waits for its peer, or does so no longer."""
        self._admission.idle(self, waits)

    def leave(self, *parts: Part) -> None:
        """The call is over, the thread that served it has left, or without a word both; again
        nothing happens.

        A peer may end a call whose request waits for the bodies: it holds thread and memory until
        its turn comes, so that it keeps its share until then.
        """
        self._admission.leave(self, set(parts) or {"call", "thread"})


@dataclass
class _Shared:
    """Something of which there is so much, and what each host holds of it."""

    granted: int
    of: Callable[[Stay], int]
    held: Counter[str] = field(default_factory=Counter)


def fits(own: int, new: int, free: int) -> bool:
    """Whether one that holds `own` may have `new` more where `free` is left: afterwards it must
    hold no more than is left then; who holds nothing gets what there is.
    """
    return new <= free and (own == 0 or own + new <= free - new)


class Admission:
    """Counts calls, streams and bytes.

    Args:
        limits: what is granted.
        largest: bytes that the largest message there may be takes; held for a call until it is
            read.
        cut: told the peer of each idle call that was ended for another.
        clock: seconds.
    """

    def __init__(
        self,
        limits: Limits,
        largest: int,
        cut: Callable[[str], object] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        limits.check(largest)
        self._limits, self._largest, self._cut, self._clock = limits, largest, cut, clock
        self._changed = threading.Condition()
        self._calls = _Shared(limits.calls, lambda _: 1)
        self._streams = _Shared(limits.streams, lambda stay: int(stay.stream))
        self._bytes = _Shared(limits.memory, lambda stay: stay.held)
        self._idle: dict[Stay, float] = {}  # in the order in which they began to wait
        self._lingering: set[Stay] = set()

    def enter(
        self, peer: str, *, stream: bool = False, cancel: Callable[[], object] = lambda: None
    ) -> Stay:
        """Admit a call, once there is room for its message.

        A stream's next message may be the largest whatever the last one was, so that a stream holds
        as much, or more under a larger reply, for as long as it is open; where there is no room it
        is refused at once.

        Args:
            peer: as gRPC names it, such as `ipv4:192.0.2.1:50000`.
            stream: whether further messages may follow.
            cancel: ends the call.

        Raises:
            Exhausted: the peer has too many calls open, others hold them all, or no room came up in
                time.
        """
        stay = Stay(self, peer, stream, cancel)
        with self._changed:
            self._take_place(stay)
            self._take_room(stay)
        return stay

    def change(self, stay: Stay, size: int) -> None:
        with self._changed:
            if stay.counted:
                size = max(size, self._largest) if stay.stream else size
                self._bytes.held[stay.host] += size - stay.held
                stay.held = size
                self._changed.notify_all()

    def idle(self, stay: Stay, waits: bool) -> None:
        with self._changed:
            self._idle.pop(stay, None)
            if waits and stay.counted:
                self._idle[stay] = self._clock()

    def leave(self, stay: Stay, parts: set[Part]) -> None:
        with self._changed:
            stay.parts -= parts
            if not stay.parts:
                self._lingering.discard(stay)
                self._give_back(stay)

    @property
    def open(self) -> tuple[int, int]:
        """(calls, bytes) of all peers."""
        with self._changed:
            return self._calls.held.total(), self._bytes.held.total()

    @property
    def hosts(self) -> dict[str, int]:
        """Calls of each host that has any."""
        with self._changed:
            return dict(self._calls.held)

    def _take_place(self, stay: Stay) -> None:
        host, limits = stay.host, self._limits
        if self._calls.held[host] >= limits.peer_calls:
            raise Exhausted(
                refusals.CALLS,
                f"{limits.peer_calls} calls of yours are open, more are not granted; "
                "finish some first",
            )
        own = self._streams.held[host]
        if stay.stream and own >= max(1, limits.streams // 2):
            raise Exhausted(
                refusals.STREAMS,
                f"{own} streams of yours are open, more are not granted; use calls, or finish "
                "some first",
            )
        if not self._free_up(self._calls, stay, 1):
            raise Exhausted(
                refusals.CROWDED,
                f"{self._calls.held.total()} of {limits.calls} calls are open, "
                f"{self._calls.held[host]} of them yours; a host gets as many as it leaves free; "
                "send again later",
            )
        if stay.stream and not self._free_up(self._streams, stay, 1):
            raise Exhausted(
                refusals.STREAMS,
                f"{self._streams.held.total()} of {limits.streams} streams are open, {own} of "
                "them yours; a host gets as many as it leaves free; use calls",
            )
        self._calls.held[host] += 1
        self._streams.held[host] += stay.stream

    def _take_room(self, stay: Stay) -> None:
        until = self._clock() + (0.0 if stay.stream else self._limits.patience)
        self.idle(stay, True)
        while not stay.cut and not self._free_up(self._bytes, stay, self._largest):
            left = until - self._clock()
            if left <= 0:
                self._give_back(stay)
                break
            self._changed.wait(min(left, TICK_SECONDS))
        if not stay.counted:
            self._lingering.discard(stay)
            raise Exhausted(
                refusals.MEMORY,
                f"requests hold the {self._limits.memory / 2**20:.0f} MiB that are granted; "
                "send again later, or smaller micro-batches",
            )
        self.idle(stay, False)
        self.change(stay, self._largest)

    def _free_up(self, shared: _Shared, stay: Stay, new: int) -> bool:
        """Whether the host may have `new` more of it; idle calls of others are ended for it if that
        is enough.
        """
        held, host = shared.held.copy(), stay.host
        since, ended = self._clock() - IDLE_SECONDS, list[Stay]()
        idle = [other for other, began in self._idle.items() if began <= since and shared.of(other)]
        while not fits(held[host], new, shared.granted - held.total()):
            richer = [other for other in idle if held[other.host] > held[host] + new]
            if not richer or len(self._lingering) + len(ended) >= LINGERING:
                return False
            first = max(richer, key=lambda other: held[other.host])
            idle.remove(first)
            held[first.host] -= shared.of(first)
            ended.append(first)
        for other in ended:
            other.cut = True
            self._lingering.add(other)
            self._give_back(other)
            other.cancel()
            self._cut(other.peer)
        return True

    def _give_back(self, stay: Stay) -> None:
        """Its share; of hosts without a call nothing is kept, however many there were."""
        if not stay.counted:
            return
        stay.counted = False
        self._idle.pop(stay, None)
        for shared in (self._calls, self._streams, self._bytes):
            shared.held[stay.host] -= shared.of(stay)
        if not self._calls.held[stay.host]:
            for shared in (self._calls, self._streams, self._bytes):
                del shared.held[stay.host]
        self._changed.notify_all()
