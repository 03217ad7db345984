"""Read a capture; everything is checked when it is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from splitlab.capture.exchanges import Exchange, read_exchanges, unique
from splitlab.capture.index import Index, index_path, read_index
from splitlab.capture.shards import REMEDY, Frame, read_shard, shard_path
from splitlab.contracts import Features
from splitlab.errors import BadInput, Corrupt


class Capture:
    """A tap's folder, opened by `Capture.open`.

    Attributes:
        vantage: where the tap sat.
        complete: whether every session was stopped in order and dropped nothing.
        dropped: frames that the tap itself says it lost.
    """

    def __init__(self, folder: Path, index: Index, shards: int) -> None:
        self.folder, self.vantage = folder, index.vantage
        self._shards = shards
        self.dropped = sum(session.dropped for session in index.sessions)
        self.complete = self.dropped == 0 and all(session.closed for session in index.sessions)

    @classmethod
    def open(cls, folder: Path) -> Capture:
        """Open `folder` and check every shard.

        Raises:
            Corrupt: not a capture, half-written, or damaged.
        """
        if not folder.is_dir():
            raise Corrupt(folder, "there is no such folder", "give the folder that a tap wrote")
        index = read_index(folder)
        shards = len(list(folder.glob("shard-*.safetensors")))
        frames = Counter(
            frame.session
            for number in range(shards)
            for frame in read_shard(shard_path(folder, number))
        )
        if any(session >= len(index.sessions) for session in frames):
            raise Corrupt(index_path(folder), "is older than the shards beside it", REMEDY)
        for number, session in enumerate(index.sessions):
            if session.closed and session.frames != frames[number]:
                why = f"{session.frames} frames were written, {frames[number]} are here"
                raise Corrupt(folder, why, REMEDY)
        return cls(folder, index, shards)

    def frames(self) -> Iterator[Frame]:
        """Every frame, in arrival order."""
        for number in range(self._shards):
            yield from read_shard(shard_path(self.folder, number))

    def exchanges(self) -> list[Exchange]:
        """Inference requests with their replies, in the order in which requests arrived.

        Messages that are no readable request (refused ones among them) are left out.

        Raises:
            BadInput: a TCP relay's capture holds no messages.
        """
        if self.vantage == "tcp":
            raise BadInput(
                f"{self.folder}: a raw TCP capture holds sizes and times only, no features; "
                "tap with the gRPC relay (without --raw) or at the server"
            )
        return read_exchanges(self.frames())

    def features(self) -> tuple[list[str], Tensor]:
        """(ids "request id/row", received features z^ float32 [n, *shape]); see `seen`."""
        found = self.seen()
        return list(found.ids), found.features

    def seen(self) -> Features:
        """Received features, with each body's replies where all were answered.

        A micro-batch that was sent twice (a retry) is counted once.

        Raises:
            BadInput: no feature was captured, or features of several shapes (several models).
        """
        ids: list[str] = []
        kept: list[Tensor] = []
        replies: list[list[Tensor]] = []
        for exchange in unique(self.exchanges()):
            rows = range(exchange.first_row, exchange.first_row + exchange.feature.shape[0])
            ids += [f"{exchange.request_id}/{row}" for row in rows]
            kept.append(exchange.feature)
            replies.append([y for y in exchange.outputs or () if len(y) == len(rows)])
        shapes = sorted({tuple(feature.shape[1:]) for feature in kept})
        if not kept:
            raise BadInput(f"{self.folder}: no feature was captured; tap while a client sends")
        if len(shapes) > 1:
            raise BadInput(
                f"{self.folder}: features of shapes {shapes} were captured, of several models; "
                "tap each model into a folder of its own"
            )
        # one that was not answered has none, and then there are none of all
        alike = len({tuple(y.shape[1:] for y in one) for one in replies}) == 1
        outputs = zip(*replies, strict=True) if alike else ()
        return Features(tuple(ids), torch.cat(kept), tuple(map(torch.cat, outputs)))
