"""gRPC calls over HTTP/2 written by hand, for peers that break its rules: a library would send
nothing that is wrong, and no call without its message.
"""

from __future__ import annotations

import socket
import struct
import threading
from dataclasses import asdict, dataclass

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, AWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
FRAME_BYTES = 1 << 14
"""Of DATA; what a server takes that says nothing else."""
FIRST_WINDOW = (1 << 16) - 1
ROOM = 1 << 30
"""For replies, so that no attack waits for its own window."""
TICK_SECONDS = 0.05
PATIENCE_SECONDS = 5.0
"""For a connection to come up or to take what is sent; then another is tried."""


@dataclass
class Sent:
    """Connections that came up, calls begun, bytes sent; calls that the server's gRPC reset, of
    which the server itself may not have heard.
    """

    connections: int = 0
    calls: int = 0
    bytes: int = 0
    reset: int = 0

    def __add__(self, other: Sent) -> Sent:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return Sent(*(one + more for one, more in pairs))


@dataclass(frozen=True)
class AttackedServer:
    """Whom to attack and from where, until `over`."""

    host: str
    port: int
    source: str
    over: threading.Event
    sent: Sent

    def connect(self) -> socket.socket:
        """A connection.

        Raises:
            OSError: none came up.
        """
        address = (self.host, self.port)
        found = socket.create_connection(address, PATIENCE_SECONDS, source_address=(self.source, 0))
        self.sent.connections += 1
        return found

    def send(self, connection: socket.socket, data: bytes) -> None:
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(data)
        self.sent.bytes += len(data)


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One of HTTP/2 (RFC 9113, section 4.1)."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def header_block(method: str) -> bytes:
    """What a gRPC call begins with, each field a literal that no table keeps (RFC 7541, 6.2.2)."""
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x"}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


def message(size: int) -> bytes:
    """A gRPC message of so many zeros."""
    return prefix(size) + bytes(size)


def prefix(size: int) -> bytes:
    """What stands before a gRPC message of so many bytes."""
    return b"\0" + struct.pack(">I", size)


class Caller:
    """A connection that speaks enough HTTP/2 to begin calls and to see them end.

    Attributes:
        open: streams that have not ended.
        window: bytes of DATA that the server still takes on this connection.
    """

    def __init__(self, target: AttackedServer) -> None:
        self._target, self._socket = target, target.connect()
        self.open: set[int] = set()
        self.window = FIRST_WINDOW
        self._next, self._in = 1, b""
        self._out = PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, struct.pack(">I", ROOM))

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str) -> int:
        """Begin a call; its stream."""
        stream, self._next = self._next, self._next + 2
        self._out += frame(HEADERS, END_HEADERS, stream, header_block(method))
        self.open.add(stream)
        self._target.sent.calls += 1
        return stream

    def data(self, stream: int, body: bytes, *, last: bool = False) -> None:
        """A part of its message, of `FRAME_BYTES` at most."""
        self._out += frame(DATA, END_STREAM if last else 0, stream, body)
        self.window -= len(body)

    def turn(self, seconds: float = TICK_SECONDS) -> None:
        """Send what has gathered, and read what comes within so long.

        Raises:
            OSError: the server hung up, or takes nothing.
        """
        out, self._out = self._out, b""
        self._target.send(self._socket, out)
        self._socket.settimeout(seconds)
        try:
            got = self._socket.recv(1 << 16)
        except TimeoutError:
            return
        if not got:
            raise ConnectionResetError
        self._in += got
        while len(self._in) >= 9:
            end = 9 + int.from_bytes(self._in[:3], "big")
            if len(self._in) < end:
                return
            kind, flags, stream = struct.unpack(">BBI", self._in[3:9])
            body, self._in = self._in[9:end], self._in[end:]
            self._read(kind, flags, stream, body)

    def _read(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._target.sent.reset += kind == RESET and stream in self.open
            self.open.discard(stream)
        elif kind == WINDOW and stream == 0:
            self.window += int.from_bytes(body, "big")
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._out += frame(kind, ACK, 0, body if kind == PING else b"")
        elif kind == AWAY:
            raise ConnectionResetError
