"""One direction of a simulated link: a queue with a rate, a delay, and what TCP makes of losses.

A message leaves when those before it have left and its own bytes are through, and arrives half a
round trip later. Where packets are lost, a message goes in rounds, as TCP sends it: a window of
packets at a time, the next window a round trip later or when the last one is through; what was lost
goes again in the next round, and those behind it wait.

Windows are Linux's, CUBIC in the region where it is as fast as Reno (RFC 9438, section 4.3): a
round adds 0.53 packets, one with losses leaves 0.7 of them, and the round that repairs adds
nothing; before its first loss a stream doubles. A loss with nothing behind it is noticed by a probe
after two round trips (RFC 8985, section 7), and if it was a repair itself, or alone, by the timer.
Without losses windows do not count, as a connection is kept and has long grown wide.
"""

from __future__ import annotations

import math
import random

SEGMENT = 1448  # bytes of a message in one packet
PACKET = 1514  # bytes of that packet on an Ethernet
FIRST_WINDOW = 10  # packets
LEAST_WINDOW = 2
GROWTH, DECREASE = 0.53, 0.7
REORDERING = 0.25
"""Of a round trip: for so long a packet may be late before it is taken as lost."""
TIMER_SECONDS = 0.2
"""And a round trip: Linux's least retransmission timeout. A stream that was silent for so long
starts again with the first window."""


class OneWay:
    """
    Args:
        rate: bits a second.
        rtt: seconds for a word there and back on the idle link.
        loss: share of packets.
        seed: of the losses.
    """

    def __init__(self, rate: float, rtt: float, loss: float, seed: int) -> None:
        self._rate, self._rtt, self._loss = rate, rtt, loss
        self._draw = random.Random(seed)
        self._free = -math.inf
        self._window, self._threshold = float(FIRST_WINDOW), math.inf
        # of the round that runs: when the next begins, packets that it may still send, whether it
        # lost any, and whether it repairs
        self._next, self._room, self._hurt, self._repairs = -math.inf, 1, False, False

    def arrival(self, size: int, now: float) -> float:
        """When a message of `size` bytes that is sent `now` is there, in seconds of that clock."""
        packets = max(1, math.ceil(size / SEGMENT))
        seconds = 8 * (size + packets * (PACKET - SEGMENT)) / self._rate
        if now - self._free > self._rtt + TIMER_SECONDS:
            self._window = min(self._window, FIRST_WINDOW)
        begun = max(self._free, now)
        if self._loss:
            self._free = self._in_rounds(packets, seconds / packets, begun)
        else:
            self._free = begun + seconds
        return self._free + self._rtt / 2

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
            through, ended = begun + sent * each, sent == left
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
        """The next round: its window grows if the last one was used up and lost nothing."""
        if not self._room and not self._hurt and not self._repairs:
            slow = self._window >= self._threshold
            self._window = self._window + GROWTH if slow else 2 * self._window
        self._next, self._room = now + self._rtt, int(self._window)
        self._hurt, self._repairs = False, self._hurt
