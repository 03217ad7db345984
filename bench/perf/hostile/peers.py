"""The strangers of `bench perf hostile`; a process of its own.

`python -m bench.perf.hostile.peers ATTACK HOST PORT SECONDS` attacks from 127.0.0.2 to 127.0.0.5
at once, prints a line when it begins and then what was sent, as JSON. Who is hung up on connects
again.
"""

from __future__ import annotations

import json
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from bench.perf.hostile.raw_http2 import (
    FRAME_BYTES,
    PREFACE,
    SETTINGS,
    TICK_SECONDS,
    AttackedServer,
    Caller,
    Sent,
    frame,
    message,
    prefix,
)

SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 6))
SERVICE = "/inference.GRPCInferenceService"
INFER, STREAM = f"{SERVICE}/ModelInfer", f"{SERVICE}/ModelStreamInfer"
LIVE = f"{SERVICE}/ServerLive"

SILENT_CALLS = 128
"""Open at a time on a connection: as many as a server grants a host by default."""
TRICKLED_BYTES = 1 << 15
HELD = 75
"""Connections of a host that say nothing or half a preface: 300 in all, fewer than a server takes
by default with 1024 files."""
FLOODS = 2
"""Connections of a host that flood, with `FLOODING` calls each at a time."""
FLOODING = 100
LARGE = (1 << 30, (1 << 32) - 1)
"""Bytes that a message says it has; as many as `FRAMES` hold are sent of it."""
FRAMES, LARGE_CALLS = 3, 8


def slow_loris(target: AttackedServer) -> None:
    """Calls whose message never comes, and as many whose message comes a byte at a time."""
    with Caller(target) as caller:
        trickling = set[int]()
        while not target.over.is_set():
            while len(caller.open) < SILENT_CALLS:
                stream = caller.call((INFER, INFER, INFER, STREAM)[target.sent.calls % 4])
                if stream % 4 == 1:
                    caller.data(stream, prefix(TRICKLED_BYTES))
                    trickling.add(stream)
            trickling &= caller.open
            for stream in trickling:
                caller.data(stream, b"\0")
            caller.turn()
            target.over.wait(TICK_SECONDS)


def half_open(target: AttackedServer) -> None:
    """Connections that say nothing, and as many that say half of a preface."""
    held: list[socket.socket] = []
    try:
        while not target.over.is_set():
            while len(held) < HELD:
                held.append(target.connect())
                if len(held) % 2:
                    target.send(held[-1], PREFACE[: len(PREFACE) // 2])
            target.over.wait(TICK_SECONDS)
            gone = [one for one in held if _is_over(one)]
            for one in gone:
                one.close()
                held.remove(one)
    finally:
        for one in held:
            one.close()


def _is_over(connection: socket.socket) -> bool:
    """Whether the server hung up."""
    connection.setblocking(False)
    try:
        return not connection.recv(FRAME_BYTES)
    except BlockingIOError:
        return False
    except OSError:
        return True


def tiny_floods(target: AttackedServer) -> None:
    """Requests of no byte to 49, and questions whether the server lives, as many as it takes."""
    with Caller(target) as caller:
        while not target.over.is_set():
            while len(caller.open) < FLOODING and caller.window >= FRAME_BYTES:
                stream = caller.call((INFER, STREAM, LIVE)[target.sent.calls % 3])
                caller.data(stream, message(target.sent.calls % 50), last=True)
            caller.turn()


def garbage(target: AttackedServer) -> None:
    """Random bytes, then a right preface with random frames behind it, and so on."""
    drawn = random.Random(target.source)
    while not target.over.is_set():
        with target.connect() as connection:
            if target.sent.connections % 2:
                data = drawn.randbytes(drawn.randint(1, 4096))
            else:
                data = PREFACE + frame(SETTINGS, 0, 0) + _random_frames(drawn)
            target.send(connection, data)
            connection.settimeout(TICK_SECONDS)
            with suppress(OSError):
                while connection.recv(FRAME_BYTES):
                    pass


def _random_frames(drawn: random.Random) -> bytes:
    return b"".join(
        frame(
            drawn.randrange(12),
            drawn.randrange(256),
            drawn.choice((0, 1, 3, drawn.randrange(1 << 32))),
            drawn.randbytes(drawn.randrange(256)),
        )
        for _ in range(16)
    )


def over_the_size(target: AttackedServer) -> None:
    """Messages that say they have a GiB and more."""
    with Caller(target) as caller:
        while not target.over.is_set():
            while len(caller.open) < LARGE_CALLS and caller.window >= FRAMES * FRAME_BYTES:
                stream = caller.call(INFER)
                size = LARGE[target.sent.calls % len(LARGE)]
                caller.data(stream, prefix(size) + bytes(FRAME_BYTES - len(prefix(size))))
                for _ in range(FRAMES - 1):
                    caller.data(stream, bytes(FRAME_BYTES))
            caller.turn()


HOSTILE_PEERS: dict[str, tuple[Callable[[AttackedServer], None], int]] = {
    "slow-loris": (slow_loris, 1),
    "half-open": (half_open, 1),
    "tiny floods": (tiny_floods, FLOODS),
    "garbage": (garbage, 1),
    "over the size": (over_the_size, 1),
}
"""What each does, and how many of a host do it at a time."""


def attack(name: str, host: str, port: int, over: threading.Event) -> list[Sent]:
    """Start it from every source; what each thread of it has sent, which grows until `over`."""
    act, each = HOSTILE_PEERS[name]
    targets = [
        AttackedServer(host, port, source, over, Sent()) for source in SOURCES for _ in range(each)
    ]

    def again(target: AttackedServer) -> None:
        while not over.is_set():
            with suppress(OSError):
                act(target)
            over.wait(TICK_SECONDS)

    for target in targets:
        threading.Thread(target=again, args=(target,), daemon=True).start()
    return [target.sent for target in targets]


def main(name: str, host: str, port: str, seconds: str) -> None:
    over = threading.Event()
    print("begins", flush=True)
    every = attack(name, host, int(port), over)
    time.sleep(float(seconds))
    total = sum(every, Sent())
    over.set()
    print(json.dumps(asdict(total)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
