"""One direction of a simulated link: a queue with a rate, a delay, and what TCP makes of both.

A message leaves when those before it have left and its own bytes are through, and arrives half a
round trip later. It goes in rounds, as TCP sends it: a window of packets at a time, the next window
a round trip later or when the last one is through; what was lost goes again in the next round, and
those behind it wait.

Windows are Linux's. They grow by what was sent until a loss, or until a round's packets take half a
round trip (HyStart, Ha and Rhee 2011), and no further than twice what is in flight. Then comes
CUBIC in the region where it is as fast as Reno (RFC 9438, section 4.3): a round adds 0.53 packets,
one with losses leaves 0.7 of them, and the round that repairs adds nothing. Silence halves a window
for each timeout that passes (RFC 2861), down to the first. A loss with nothing behind it is noticed
by a probe after two round trips (RFC 8985, section 7), and if it was a repair itself, or alone, by
the timer. A connection's handshake is not simulated, as the connection is kept.
"""

from __future__ import annotations

import math
import random
import threading
from bisect import bisect_left, bisect_right

from splitlab.contracts.link import Link

MODEL = 2
"""Goes up with every change in what a message takes."""
SEGMENT = 1448  # bytes of a message in one packet
PACKET = 1514  # bytes of that packet on an Ethernet
FIRST_WINDOW = 10  # packets
LEAST_WINDOW = 2
GROWTH, DECREASE = 0.53, 0.7
RESTART = 0.75
"""Of the window before a silence: so far it grows again as fast as at its start."""
REORDERING = 0.25
"""Of a round trip: for so long a packet may be late before it is taken as lost."""
TIMER_SECONDS = 0.2
"""And a round trip: Linux's least retransmission timeout."""


class Wire:
    """The time of one direction of a link, which several connections may share.

    What is sent takes the first time that nobody has taken yet, in pieces if need be: a connection
    that waits for its next window leaves the wire to the others, and together they send no faster
    than it does.
    """

    def __init__(self) -> None:
        self._taken: list[tuple[float, float]] = []  # from, to; in order, apart from one another
        self._lock = threading.Lock()

    def take(self, begun: float, seconds: float) -> float:
        """Take so many seconds from `begun` on; returns when they are over."""
        with self._lock:
            through, left = begun, seconds
            first = last = bisect_left(self._taken, begun, key=_end)
            while last < len(self._taken):
                start, end = self._taken[last]
                if end > through:
                    if through + left <= start:
                        break
                    left -= max(0.0, start - through)
                    through = end
                last += 1
            through += left
            while last < len(self._taken) and self._taken[last][0] <= through:
                last += 1
            met = [(begun, through), *self._taken[first:last]]
            self._taken[first:last] = [(min(met)[0], max(end for _, end in met))]
            return through

    def forget(self, now: float) -> None:
        """What was over by `now`."""
        with self._lock:
            del self._taken[: bisect_right(self._taken, now, key=_end)]


def _end(taken: tuple[float, float]) -> float:
    return taken[1]


class OneWay:
    """One connection's.

    Args:
        rate: bits a second.
        rtt: seconds for a word there and back on the idle link.
        loss: share of packets.
        seed: of the losses.
        wire: shared with other connections of the same rate; None for one of its own.
    """

    def __init__(
        self, rate: float, rtt: float, loss: float, seed: int, wire: Wire | None = None
    ) -> None:
        self._rate, self._rtt, self._loss = rate, rtt, loss
        self._wire = wire or Wire()
        self._draw = random.Random(seed)
        self._free = -math.inf
        self._window, self._threshold = float(FIRST_WINDOW), math.inf
        # of the round that runs: when the next begins, packets that it may still send, whether it
        # lost any, and whether it repairs
        self._next, self._room, self._hurt, self._repairs = -math.inf, 0, False, False
        # packets that it sent, the seconds that they took, those of the round before that were in
        # flight when it began
        self._sent, self._busy, self._ahead = 0, 0.0, 0

    def arrival(self, size: int, now: float) -> float:
        """When a message of `size` bytes that is sent `now` is there, in seconds of that clock."""
        packets = max(1, math.ceil(size / SEGMENT))
        seconds = 8 * (size + packets * (PACKET - SEGMENT)) / self._rate
        self._wire.forget(now)
        self._after_silence(now - self._free)
        self._free = self._in_rounds(packets, seconds / packets, max(self._free, now))
        return self._free + self._rtt / 2

    def _after_silence(self, silence: float) -> None:
        """Halve the window for each timeout of `silence` seconds."""
        timeout = self._rtt + TIMER_SECONDS
        if silence <= timeout:
            return
        self._grow()
        self._threshold = max(self._threshold, RESTART * self._window)
        while silence > timeout and self._window > FIRST_WINDOW:
            self._window = max(FIRST_WINDOW, self._window / 2)
            silence -= timeout

    def _in_rounds(self, left: int, each: float, begun: float) -> float:
        """When the last of `left` packets is through that is not lost; `each` takes so long."""
        while True:
            if begun >= self._next:
                self._begin(begun)
            elif not self._room:
                begun = self._next
                continue
            sent = min(left, self._room)
            lost = [place for place in range(sent) if self._draw.random() < self._loss]
            through, ended = self._wire.take(begun, sent * each), sent == left
            late = through - (begun + sent * each)  # exactly 0 on a wire of its own
            self._sent, self._busy = self._sent + sent, self._busy + sent * each + late
            left += len(lost) - sent
            self._room -= sent
            if lost and not self._hurt:
                self._hurt = True
                self._window = self._threshold = max(LEAST_WINDOW, int(DECREASE * self._window))
            if not left:
                return through
            if not ended:
                begun = through
            elif lost[0] < sent - 1:
                begun = max(through, begun + (1 + REORDERING) * self._rtt)
            elif sent > 1 and not self._repairs:
                begun = through + min(2 * self._rtt, self._rtt + TIMER_SECONDS)
            else:
                begun = through + self._rtt + TIMER_SECONDS
                self._window = 1

    def _begin(self, now: float) -> None:
        """The next round."""
        # what the last one sent is acknowledged a round trip after its last packet left
        ended = self._next - self._rtt + self._busy
        ahead = self._sent if now < ended + self._rtt else 0
        self._grow()
        self._ahead = ahead
        self._next, self._room = now + self._rtt, int(self._window)
        self._hurt, self._repairs = False, self._hurt

    def _grow(self) -> None:
        """After a round: its window, if it was used and the round lost and repaired nothing."""
        sent, busy, self._sent, self._busy = self._sent, self._busy, 0, 0.0
        if not sent or self._hurt or self._repairs:
            return
        if self._window >= self._threshold:
            self._window += 0 if self._room else GROWTH
            return
        in_flight = max(sent, self._ahead + sent / 2)
        more = max(0.0, min(sent, 2 * in_flight - self._window))
        self._window = min(self._window + more, self._threshold)
        if busy > self._rtt / 2:
            self._threshold = self._window


def round_trips(
    link: Link, up: int, down: int, count: int, *, between: float = 0.0, gap: float = 0.0
) -> list[float]:
    """Seconds of each request until its answer, one after another on one connection.

    Args:
        up, down: bytes of a request and of its answer.
        between: seconds from a request's arrival to its answer.
        gap: seconds from an answer to the next request.
    """
    there = OneWay(link.up, link.rtt, link.loss, 1)
    back = OneWay(link.down, link.rtt, link.loss, 2)
    now, found = 0.0, []
    for _ in range(count):
        answered = back.arrival(down, there.arrival(up, now) + between)
        found.append(answered - now)
        now = answered + gap
    return found
