"""From frames to exchanges: which request belongs to which reply, and the tensors in both."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import Tensor

from splitlab.capture.shards import Frame
from splitlab.errors import SplitLabError
from splitlab.storage import sha256
from splitlab.wire import Reply, Request, decode
from splitlab.wire.messages import INFER, STREAM_INFER, from_stream
from splitlab.wire.request_ids import split_message_id


@dataclass(frozen=True)
class Exchange:
    """One micro-batch as a listener sees it.

    Args:
        request_id: the request's id, without the micro-batch's first row.
        first_row: row of the request at which this micro-batch begins.
        peer: who sent it, in gRPC's words ("ipv4:127.0.0.1:40000").
        feature: z^ float32 [b, *feature_shape], decoded from the wire.
        outputs: the bodies' outputs, float32 [b, *output_shape] each; None without an answer.
        bytes_up, bytes_down: sizes of the two messages, without gRPC's and HTTP/2's framing.
        arrival_ns: when the request came, ns since 1970.
        content: SHA-256 of the request; a retry has the first attempt's.
    """

    request_id: str
    first_row: int
    peer: str
    feature: Tensor = field(repr=False)
    outputs: list[Tensor] | None = field(repr=False)
    bytes_up: int
    bytes_down: int
    arrival_ns: int
    content: str = field(repr=False)


def read_exchanges(frames: Iterable[Frame]) -> list[Exchange]:
    """Pair requests and replies by call and, within a stream, by id in order of arrival."""
    requests: list[tuple[Frame, Request]] = []
    replies: dict[tuple[int, int, str], list[tuple[Frame, Reply | None]]] = defaultdict(list)
    for frame in frames:
        if frame.method not in (INFER, STREAM_INFER):
            continue
        try:
            if frame.direction == "up":
                requests.append((frame, Request.from_bytes(frame.data)))
            else:
                reply_id, reply = _reply(frame)
                replies[frame.session, frame.call, reply_id].append((frame, reply))
        except SplitLabError:
            continue
    found = []
    for frame, request in requests:
        waiting = replies[frame.session, frame.call, request.message_id]
        answer = waiting.pop(0) if waiting else None
        exchange = _exchange(frame, request, answer)
        if exchange is not None:
            found.append(exchange)
    return found


def unique(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """Without retries: of equal requests only the first stays.

    Different requests under one id (of a client that does not use SplitLab's ids) are kept; from
    the second on, the id gets a suffix "#2".
    """
    seen: set[tuple[str, int, str]] = set()
    uses: dict[tuple[str, int], int] = defaultdict(int)
    kept = []
    for exchange in exchanges:
        place = (exchange.request_id, exchange.first_row)
        # Without an id nothing tells a retry from the same features sent twice: both stay.
        if exchange.request_id and (*place, exchange.content) in seen:
            continue
        seen.add((*place, exchange.content))
        uses[place] += 1
        kept.append(exchange if uses[place] == 1 else _renamed(exchange, uses[place]))
    return kept


def _reply(frame: Frame) -> tuple[str, Reply | None]:
    if frame.method == INFER:
        reply = Reply.from_bytes(frame.data)
        return reply.message_id, reply
    error, reply = from_stream(frame.data)
    return reply.message_id, None if error else reply


def _exchange(
    frame: Frame, request: Request, answer: tuple[Frame, Reply | None] | None
) -> Exchange | None:
    try:
        feature = decode(request.tensors)
    except SplitLabError:
        return None
    request_id, first_row = split_message_id(request.message_id)
    return Exchange(
        request_id=request_id,
        first_row=first_row,
        peer=frame.peer,
        feature=feature,
        outputs=_outputs(answer[1]) if answer is not None else None,
        bytes_up=frame.size,
        bytes_down=answer[0].size if answer is not None else 0,
        arrival_ns=frame.arrival_ns,
        content=sha256(frame.data),
    )


def _outputs(reply: Reply | None) -> list[Tensor] | None:
    if reply is None:
        return None
    try:
        return [decode(reply.tensors, name=tensor.name) for tensor in reply.tensors]
    except SplitLabError:
        return None


def _renamed(exchange: Exchange, use: int) -> Exchange:
    return Exchange(**{**exchange.__dict__, "request_id": f"{exchange.request_id}#{use}"})
