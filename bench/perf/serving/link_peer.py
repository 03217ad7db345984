"""Two ends of a plain TCP connection, for `bench perf link`; run by its path, as it needs no lab.

`link_peer.py server HOST` prints a line when it listens, reads messages of eight bytes of size and
so many more, and answers each with eight. `link_peer.py client HOST SIZE COUNT GAP` prints the
seconds that each of COUNT messages took until its answer, GAP seconds after the last, as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import time

PORT = 5000
ANSWER_BYTES = 8
CHUNK_BYTES = 1 << 16


def serve(host: str) -> None:
    """One connection after another, until it is killed."""
    listening = socket.create_server((host, PORT))
    print("ready", flush=True)
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while len(head := connection.recv(ANSWER_BYTES, socket.MSG_WAITALL)) == ANSWER_BYTES:
            left = int.from_bytes(head, "big")
            while left > 0:
                left -= len(connection.recv(min(left, CHUNK_BYTES))) or left
            connection.sendall(head)
        connection.close()


def ask(host: str, size: int, count: int, gap: float) -> list[float]:
    """Seconds of each message of `size` bytes, its size's eight among them."""
    message = (size - ANSWER_BYTES).to_bytes(ANSWER_BYTES, "big") + bytes(size - ANSWER_BYTES)
    found = []
    with socket.create_connection((host, PORT)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            started = time.monotonic()
            connection.sendall(message)
            connection.recv(ANSWER_BYTES, socket.MSG_WAITALL)
            found.append(time.monotonic() - started)
            time.sleep(gap)
    return found


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2])
    else:
        host, size, count, gap = sys.argv[2:]
        print(json.dumps(ask(host, int(size), int(count), float(gap))))
