"""A cable that delays, slows and loses packets, in user space: `packet_relay.py NAME NAME RTT_S
UP_BPS DOWN_BPS LOSS SEED`.

Makes two TUN devices and prints a line when they are there; whoever started it moves them into
namespaces. Packets into the second come out of the first ("up") and the other way round: one after
another at the rate, then half the round trip later, or never. It sees IP packets and knows nothing
of what is in them; it shares no code with the lab.
"""

from __future__ import annotations

import errno
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
WITHOUT_HEADER = 0x0001 | 0x1000  # IFF_TUN | IFF_NO_PI
ETHERNET = 14  # bytes of a frame before its packet


def tun(name: str) -> int:
    """A new device of that name, to be read and written."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), WITHOUT_HEADER))
    return device


def main(
    server: str, client: str, rtt: float, up: float, down: float, loss: float, seed: int
) -> None:
    """Until it is killed.

    Args:
        server, client: names of the devices.
        rtt: seconds.
        up, down: bits a second towards the server and back.
        loss: share of the packets, each way.
    """
    ends = {tun(server): down, tun(client): up}  # what is read at an end leaves at this rate
    other = dict(zip(ends, reversed(ends), strict=True))
    free = dict.fromkeys(ends, 0.0)
    due: list[tuple[float, int, int, bytes]] = []
    number, draw = 0, random.Random(seed)
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while due and due[0][0] <= now:
            _, _, out, packet = heapq.heappop(due)
            try:
                os.write(out, packet)
            except OSError as error:
                if error.errno != errno.EIO:  # an end that is down takes none
                    raise
        wait = max(0.0, due[0][0] - now) if due else None
        for end in select.select(list(ends), [], [], wait)[0]:
            try:
                packet = os.read(end, 65536)
            except BlockingIOError:
                continue
            free[end] = max(free[end], time.monotonic()) + 8 * (len(packet) + ETHERNET) / ends[end]
            number += 1
            if draw.random() >= loss:
                heapq.heappush(due, (free[end] + rtt / 2, number, other[end], packet))


if __name__ == "__main__":
    rtt, up, down, loss = map(float, sys.argv[3:7])
    main(sys.argv[1], sys.argv[2], rtt, up, down, loss, int(sys.argv[7]))
