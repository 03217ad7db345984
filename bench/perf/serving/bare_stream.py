"""An echo over gRPC's streams and nothing else: gRPC's own share of what ours takes.

As ours it sends pieces of about 1 MiB, each on a stream that stays open, several at a time; there
is no message format, no check, no limit and no account of time.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any

import grpc
import numpy as np
import torch
from torch import Tensor

from edge_client.lanes import LANES_AT_MOST

METHOD = "/bench.Bare/Echo"


class _Stream:
    """One open call, which carries one piece at a time."""

    def __init__(self, method: Any) -> None:
        self._outgoing: SimpleQueue[bytes | None] = SimpleQueue()
        self._awaited: Future[bytes] = Future()
        self._call = method(iter(self._outgoing.get, None))
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, raw: bytes) -> Future[bytes]:
        self._awaited = awaited = Future[bytes]()
        self._outgoing.put(raw)
        return awaited

    def close(self) -> None:
        """Say that nothing more comes, and see the other end say so too."""
        self._outgoing.put(None)
        self._reader.join()

    def _read(self) -> None:
        try:
            for raw in self._call:
                self._awaited.set_result(raw)
        except grpc.RpcError as error:
            if not self._awaited.done():
                self._awaited.set_exception(error)


@contextlib.contextmanager
def bare_stream(channel: grpc.Channel, rows: int) -> Iterator[Callable[[Tensor], Tensor]]:
    """A way there and back for features, `rows` of them in a piece."""
    method: Any = channel.stream_stream(METHOD, None, None)
    streams = deque(_Stream(method) for _ in range(LANES_AT_MOST))

    def way(feature: Tensor) -> Tensor:
        pieces = feature.split(rows)
        under_way: deque[tuple[_Stream, Future[bytes]]] = deque()
        back: list[Tensor] = []

        def take() -> None:
            stream, awaited = under_way.popleft()
            values = np.frombuffer(awaited.result(), dtype="<f4").copy()
            back.append(torch.from_numpy(values).view(-1, *feature.shape[1:]))
            streams.append(stream)

        for piece in pieces:
            if not streams:
                take()
            stream = streams.pop()
            under_way.append((stream, stream.send(piece.numpy().tobytes())))
        while under_way:
            take()
        return torch.cat(back)

    try:
        yield way
    finally:
        for stream in streams:
            stream.close()
