"""Who gets a place: calls, streams and bytes, counted by host and shared so that others find some.

Dynamic thresholds with factor 1 (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking 6(2), 1998): a host may hold as
much as it leaves free. Beside it, whoever is let down by an idle call gets its place.

Granted, of T places and with k hosts that take all they get:

- One gets T/2; while none of their calls ends, the next T/4, and so on. As calls end they come down
  to T/(k + 1) each, and as many stay free: a place that was given back goes to a host with few.
- Calls that have waited for their peer, or for room, for more than `IDLE_SECONDS` keep no host out
  that has fewer: the longest idle one of the host that has most is ended for it (CANCELLED), as
  long as that host keeps more than the other then has. A stream's wait begins anew with a message
  that was answered rightly, and with no other, however many arrive.
- Streams hold room for their largest message as long as they are open, and together no more than
  half of the memory, replies aside that are larger than any message; calls find the other half.

Not granted: anything against T hosts with one call each; a place, or room, at once where more than
log2(T) hosts flood with requests that are right, all of which wait for the bodies: then one when
some have been answered. Addresses of one IPv6 /64 are one host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from cloud_server.guard.limits import Exhausted, Limits
from cloud_server.guard.shares import Shared
from cloud_server.hosts import host_of
from splitlab.wire import refusals

IDLE_SECONDS = 1.0
LINGERING = 32
"""Calls that were ended for others and whose threads have not left yet; more are not ended."""
TICK_SECONDS = 0.25

StayPart = Literal["call", "thread"]


class Stay:
    """One call's share, from its first word until it is over and its thread has left.

    Attributes:
        heard: whether a message of its peer has arrived.
        cut: whether the server itself ended it.
        counted: whether it still holds its share.
        fresh: whether its next wait counts from its own beginning; one of a stream whose last
            message was not answered rightly counts from where the wait before it began.
        since: when its wait began, in the server's seconds.
    """

    def __init__(
        self, admission: Admission, peer: str, stream: bool, cancel: Callable[[], object]
    ) -> None:
        self._admission, self.peer, self.host = admission, peer, host_of(peer)
        self.stream, self.cancel = stream, cancel
        self.held, self.counted, self.cut, self.heard = 0, True, False, False
        self.fresh, self.since = True, 0.0
        self.parts: set[StayPart] = {"call", "thread"}

    def hold(self, size: int) -> None:
        """Its message is there and takes `size` bytes, or its reply, which takes that place."""
        self._admission.change(self, size)

    def idle(self, waits: bool) -> None:
        """From now on it waits for its peer, or does so no longer."""
        self._admission.idle(self, waits)

    def leave(self, *parts: StayPart) -> None:
        """The call is over, the thread that served it has left, or without a word both; again
        nothing happens.

        A peer may end a call whose request waits for the bodies: it holds thread and memory until
        its turn comes, so that it keeps its share until then.
        """
        self._admission.leave(self, set(parts) or {"call", "thread"})


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
        self._calls = Shared[Stay](limits.calls, lambda _: 1)
        self._streams = Shared[Stay](limits.streams, lambda stay: int(stay.stream))
        self._bytes = Shared[Stay](limits.memory, lambda stay: stay.held)
        self._streamed = Shared[Stay](limits.memory // 2, lambda stay: stay.held * stay.stream)
        self._idle: dict[Stay, None] = {}
        self._lingering: set[Stay] = set()
        self._untold: list[Stay] = []

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
        try:
            with self._changed:
                self._take_place(stay)
            self._tell()
            if not stream:
                with self._changed:
                    self._take_room(stay)
        finally:
            self._tell()
        return stay

    def change(self, stay: Stay, size: int) -> None:
        with self._changed:
            if not stay.counted:
                return
            size = max(size, self._largest) if stay.stream else size
            more, stay.held = size - stay.held, size
            self._bytes.held[stay.host] += more
            self._streamed.held[stay.host] += more * stay.stream
            if more < 0:
                self._changed.notify_all()

    def idle(self, stay: Stay, waits: bool) -> None:
        with self._changed:
            self._idle.pop(stay, None)
            if waits and stay.counted:
                stay.since = self._clock() if stay.fresh else stay.since
                self._idle[stay] = None

    def leave(self, stay: Stay, parts: set[StayPart]) -> None:
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
        wanted = [(self._calls, 1)]
        if stay.stream:
            wanted += [(self._streams, 1)]
            wanted += [(shared, self._largest) for shared in (self._streamed, self._bytes)]
        ended = list[Stay]()  # none is, unless all is found
        for shared, new in wanted:
            if not self._found(shared, stay, new, ended):
                raise self._refusal(shared, host)
        self._end(ended)
        self._calls.held[host] += 1
        self._streams.held[host] += stay.stream
        if stay.stream:
            self.change(stay, self._largest)

    def _refusal(self, shared: Shared[Stay], host: str) -> Exhausted:
        """For a host that may have no more of it."""
        held, own, granted = shared.held.total(), shared.held[host], shared.granted
        rule = "a host gets as many as it leaves free"
        if shared is self._calls:
            words = f"{held} of {granted} calls are open, {own} of them yours; {rule}; "
            return Exhausted(refusals.CROWDED, words + "send again later")
        if shared is self._streams:
            words = f"{held} of {granted} streams are open, {own} of them yours; {rule}; use calls"
            return Exhausted(refusals.STREAMS, words)
        if shared is self._streamed:
            words = (
                f"streams hold {held / 2**20:z.0f} of the {granted / 2**20:z.0f} MiB that they "
                f"may, each takes {self._largest / 2**20:z.1f}, {own / 2**20:z.0f} are yours; a "
                "host gets as much as it leaves free; use calls"
            )
            return Exhausted(refusals.STREAMS, words)
        return Exhausted(
            refusals.MEMORY,
            f"requests hold the {granted / 2**20:z.0f} MiB that are granted; send again later, or "
            "smaller micro-batches",
        )

    def _take_room(self, stay: Stay) -> None:
        until = self._clock() + self._limits.patience
        self.idle(stay, True)
        ended = list[Stay]()
        while not stay.cut and not self._found(self._bytes, stay, self._largest, ended):
            left = until - self._clock()
            if left <= 0:
                self._give_back(stay)
                break
            self._changed.wait(min(left, TICK_SECONDS))
        if not stay.counted:
            self._lingering.discard(stay)
            refusal = self._refusal(self._bytes, stay.host)
            refusal.told = stay.cut
            raise refusal
        self._end(ended)
        self.idle(stay, False)
        self.change(stay, self._largest)

    def _found(self, shared: Shared[Stay], stay: Stay, new: int, ended: list[Stay]) -> bool:
        """Whether the host may have `new` more of it once `ended` are; idle calls of others join
        them if that is enough, and where it is not they are left as they were.
        """
        left = shared.without(ended)
        if left.grants(stay.host, new):
            return True
        since, found = self._clock() - IDLE_SECONDS, list[Stay]()
        idle = [other for other in self._idle if other.since <= since and shared.of(other)]
        idle = sorted((other for other in idle if other not in ended), key=lambda one: one.since)
        while not left.grants(stay.host, new):
            least = left.held[stay.host] + new
            richer = [other for other in idle if left.held[other.host] > least]
            if not richer or len(self._lingering) + len(ended) + len(found) >= LINGERING:
                return False
            first = max(richer, key=lambda other: left.held[other.host])
            idle.remove(first)
            found.append(first)
            left = shared.without([*ended, *found])
        ended += found
        return True

    def _end(self, ended: list[Stay]) -> None:
        for other in ended:
            other.cut = True
            self._lingering.add(other)
            self._give_back(other)
        self._untold += ended

    def _tell(self) -> None:
        """Calls that were ended and who is told of them; without the lock, as a line is written."""
        with self._changed:
            ended, self._untold = self._untold, []
        for other in ended:
            other.cancel()
            self._cut(other.peer)

    def _give_back(self, stay: Stay) -> None:
        """Its share; of hosts without a call nothing is kept, however many there were."""
        if not stay.counted:
            return
        stay.counted = False
        self._idle.pop(stay, None)
        every = (self._calls, self._streams, self._bytes, self._streamed)
        for shared in every:
            shared.held[stay.host] -= shared.of(stay)
        if not self._calls.held[stay.host]:
            for shared in every:
                del shared.held[stay.host]
        self._changed.notify_all()
