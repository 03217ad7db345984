"""What a server grants: to one peer, to all of them, in calls, in bytes and in seconds."""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter
from dataclasses import dataclass
from urllib.parse import unquote

from splitlab.errors import BadInput, SplitLabError


@dataclass(frozen=True)
class Limits:
    """
    Args:
        peer_calls: calls of one host that may be open at a time; of all hosts twice as many.
        streams: ModelStreamInfer calls that may be open, of all hosts; one host gets half of them.
        memory: bytes of requests that are being read, wait or run, each with its values in FP32
            and its reply, of all hosts; one host gets half of it. Not of it: what bodies compute
            with, what decoding takes for a moment, and gRPC's buffers.
        patience: seconds within which a message must arrive, a call find room, and a reply be
            taken.
        seconds: after which a request that still waits for the bodies is given up, and a watch of
            the server's health ends.
    """

    peer_calls: int = 128
    streams: int = 32
    memory: int = 1 << 30
    patience: float = 60.0
    seconds: float = 300.0

    def check(self, largest: int) -> None:
        """
        Args:
            largest: bytes that the largest request takes.

        Raises:
            BadInput: it has no room in the memory.
        """
        if self.memory < largest:
            raise BadInput(
                f"--max-memory: the deployment's largest request takes {largest / 2**20:.1f} MiB "
                f"with its values in FP32 and its reply, there is room for "
                f"{self.memory / 2**20:.1f} MiB; give at least that much"
            )


class Exhausted(SplitLabError):
    """A limit is reached; others are still served."""


class Stay:
    """One call's share, from its first word to its last."""

    def __init__(self, admission: Admission, host: str, held: int, stream: bool) -> None:
        self._admission, self.host, self.held = admission, host, held
        self.stream, self.left = stream, False

    def hold(self, size: int) -> None:
        """Its message is there and takes `size` bytes, or its reply, which takes that place."""
        self._admission.change(self, size)

    def leave(self) -> None:
        """The call is over; a second time nothing happens."""
        self._admission.leave(self)


class Admission:
    """Counts calls and bytes.

    Args:
        limits: what is granted.
        largest: bytes that the largest message there may be takes; held for a call until it is
            read.
    """

    def __init__(self, limits: Limits, largest: int) -> None:
        limits.check(largest)
        self._limits, self._largest = limits, largest
        self._changed = threading.Condition()
        self._calls: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._streams: Counter[str] = Counter()

    def enter(self, peer: str, *, stream: bool = False) -> Stay:
        """Admit a call, once there is room for its message.

        A stream's next message may be the largest whatever the last one was, so that a stream holds
        as much, or more under a larger reply, for as long as it is open; where there is no room it
        is refused at once.

        Args:
            peer: as gRPC names it, such as `ipv4:192.0.2.1:50000`.
            stream: whether further messages may follow.

        Raises:
            Exhausted: the peer has too many calls open, or no room came up in time.
        """
        host = host_of(peer)
        with self._changed:
            if self._calls[host] >= self._limits.peer_calls:
                raise Exhausted(
                    f"{self._limits.peer_calls} calls of yours are open, more are not granted; "
                    "finish some first"
                )
            if stream and self._streams[host] >= max(1, self._limits.streams // 2):
                raise Exhausted(
                    f"{self._streams[host]} streams of yours are open, more are not granted; use "
                    "calls, or finish some first"
                )
            self._calls[host] += 1
            patience = 0.0 if stream else self._limits.patience
            if not self._changed.wait_for(lambda: self._room(host), patience):
                self._forget(host)
                raise Exhausted(
                    f"requests hold the {self._limits.memory / 2**20:.0f} MiB that are granted; "
                    "send again later, or smaller micro-batches"
                )
            self._bytes[host] += self._largest
            self._streams[host] += stream
        return Stay(self, host, self._largest, stream)

    def change(self, stay: Stay, size: int) -> None:
        with self._changed:
            if not stay.left:
                size = max(size, self._largest) if stay.stream else size
                self._bytes[stay.host] += size - stay.held
                stay.held = size
                self._changed.notify_all()

    def leave(self, stay: Stay) -> None:
        with self._changed:
            if not stay.left:
                stay.left = True
                self._bytes[stay.host] -= stay.held
                self._streams[stay.host] -= stay.stream
                self._forget(stay.host)
                self._changed.notify_all()

    @property
    def open(self) -> tuple[int, int]:
        """(calls, bytes) of all peers."""
        with self._changed:
            return self._calls.total(), self._bytes.total()

    def _room(self, host: str) -> bool:
        own = max(self._limits.memory // 2, self._largest)
        return (
            self._bytes.total() + self._largest <= self._limits.memory
            and self._bytes[host] + self._largest <= own
        )

    def _forget(self, host: str) -> None:
        """One call less; of hosts without a call nothing is kept, however many there were."""
        self._calls[host] -= 1
        if not self._calls[host]:
            del self._calls[host], self._bytes[host], self._streams[host]


def host_of(peer: str) -> str:
    """Whom a limit is for: `ipv4:192.0.2.1:50000` -> `ipv4:192.0.2.1`.

    One IPv6 host commonly has a whole /64 to take addresses from, so that these count as one:
    `ipv6:%5B2001:db8::1%5D:50000` -> `ipv6:2001:db8::/64`. What has no port stays as it is.
    """
    host, colon, port = peer.rpartition(":")
    if not (colon and port.isdigit() and ":" in host):
        return peer
    kind, _, bare = host.partition(":")
    if kind != "ipv6":
        return host
    try:
        address = ipaddress.IPv6Address(unquote(bare).strip("[]").partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return f"ipv4:{address.ipv4_mapped}"
    return f"ipv6:{ipaddress.IPv6Network((address, 64), strict=False)}"
