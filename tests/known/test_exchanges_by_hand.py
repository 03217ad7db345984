"""Which reply belongs to which request, however they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from splitlab.capture import Capture, Exchange, Frame
from splitlab.capture.exchanges import read_exchanges, unique
from splitlab.capture.index import Index, Session, write_index
from splitlab.capture.shards import write_shard
from splitlab.errors import BadInput
from splitlab.storage import sha256
from splitlab.wire import Reply, Request, WireTensor, encode
from splitlab.wire.messages import INFER, STREAM_INFER, stream_error

ID = "0123456789abcdef" * 2


def z(value: float, rows: int = 1) -> Tensor:
    return torch.full((rows, 2, 3, 3), value)


def up(message_id: str, value: float, *, call: int = 0, session: int = 0, **more: Any) -> Frame:
    method = more.pop("method", STREAM_INFER)
    tensors = more.pop("tensors", tuple(encode(z(value), "FP32")))
    data = Request(model_name="m", message_id=message_id, tensors=tensors).to_bytes()
    return Frame(session, call, "up", method, "peer", 11, more.pop("size", len(data)), data)


def down(message_id: str, *values: float, call: int = 0, session: int = 0, **more: Any) -> Frame:
    method = more.pop("method", STREAM_INFER)
    tensors = more.pop(
        "tensors", tuple(encode(z(v), "FP32", f"output_{i}")[0] for i, v in enumerate(values))
    )
    reply = Reply(model_name="m", message_id=message_id, tensors=tensors)
    data = reply.to_bytes(streamed=method == STREAM_INFER)
    return Frame(session, call, "down", method, "peer", 12, more.pop("size", len(data)), data)


def answers(frames: list[Frame]) -> list[list[float] | None]:
    """The first number of each output, for each request in order of arrival."""
    return [
        None if e.outputs is None else [float(y.flatten()[0]) for y in e.outputs]
        for e in read_exchanges(frames)
    ]


def test_an_exchange_holds_what_a_listener_saw() -> None:
    asked, answer = up(f"{ID}-40", 1.5, size=900), down(f"{ID}-40", 2, 3, size=77)
    (found,) = read_exchanges([asked, answer])
    assert (found.request_id, found.first_row, found.peer) == (ID, 40, "peer")
    assert (found.bytes_up, found.bytes_down, found.arrival_ns) == (900, 77, 11)
    assert found.content == sha256(asked.data)
    assert torch.equal(found.feature, z(1.5))
    assert found.outputs is not None
    assert [float(y.mean()) for y in found.outputs] == [2, 3]


def test_a_reply_answers_its_own_session_call_and_id_only() -> None:
    asked = [
        up(f"{ID}-0", 0, call=1),
        up(f"{ID}-0", 0, call=2),
        up(f"{ID}-0", 0, call=1, session=1),
        up(f"{ID}-1", 0, call=1),
    ]
    replies = [
        down(f"{ID}-0", 21, call=2),
        down(f"{ID}-1", 12, call=1),
        down(f"{ID}-0", 31, call=1, session=1),
        down(f"{ID}-0", 11, call=1),
    ]
    assert answers(asked + replies) == [[11], [21], [31], [12]]
    assert answers([*asked, replies[0], replies[2]]) == [None, [21], [31], None]


def test_replies_under_one_id_are_given_in_order_of_arrival() -> None:
    asked = [up("same", 0), up("same", 1), up("same", 2)]
    assert answers([*asked, down("same", 5), down("same", 6)]) == [[5], [6], None]


def test_a_reply_may_be_written_down_before_its_request() -> None:
    assert answers([down(f"{ID}-0", 4), up(f"{ID}-0", 0)]) == [[4]]


def test_a_call_of_one_reply_is_read_too() -> None:
    frames = [up(f"{ID}-0", 0, method=INFER), down(f"{ID}-0", 8, method=INFER)]
    assert answers(frames) == [[8]]


def test_an_error_is_an_answer_without_outputs() -> None:
    words = stream_error("no", f"{ID}-0")
    error = Frame(0, 0, "down", STREAM_INFER, "peer", 12, len(words), words)
    (found,) = read_exchanges([up(f"{ID}-0", 0), error])
    assert (found.outputs, found.bytes_down) == (None, len(words))


def test_what_cannot_be_read_is_left_out_and_the_rest_is_not() -> None:
    broken = WireTensor("feature", "FP32", (1, 2), b"\0")
    good = [up(f"{ID}-7", 1), down(f"{ID}-7", 3)]
    noise = [
        Frame(0, 0, "up", STREAM_INFER, "peer", 1, 2, b"\xff\xff"),
        Frame(0, 0, "down", STREAM_INFER, "peer", 1, 2, b"\xff\xff"),
        Frame(0, 0, "up", "/grpc.health.v1.Health/Check", "peer", 1, 0, good[0].data),
        Frame(0, 0, "down", "", "peer", 1, 0, good[1].data),
        up(f"{ID}-8", 0, tensors=(broken,)),
    ]
    assert answers([*noise, *good]) == [[3]]
    bad = down(f"{ID}-7", tensors=(WireTensor("output_0", "FP32", (1, 2), b"\0"),))
    (found,) = read_exchanges([good[0], bad])
    assert (found.outputs, found.bytes_down) == (None, bad.size)


def test_maps_of_other_channels_are_of_several_models(tmp_path: Path) -> None:
    for number, channels in enumerate((2, 4, 2)):
        feature = tuple(encode(torch.zeros(3, channels, 3, 3), "FP32"))
        frame = up(f"{ID}-{3 * number}", 0, tensors=feature)
        write_shard(tmp_path, number, 0, [frame])
        write_index(
            tmp_path, Index(vantage="relay", sessions=(Session(first_shard=0, started_ns=0),))
        )
        if number == 0:
            ids, features = Capture.open(tmp_path).features()
            assert ids == [f"{ID}/{row}" for row in range(3)]
            assert tuple(features.shape) == (3, 2, 3, 3)
    with pytest.raises(BadInput, match=r"shapes \[\(2, 3, 3\), \(4, 3, 3\)\]"):
        Capture.open(tmp_path).features()


def exchange(request_id: str, row: int = 0, content: str = "a") -> Exchange:
    return Exchange(request_id, row, "peer", z(0), None, 1, 2, 3, content)


def test_a_retry_is_the_same_bytes_under_the_same_id_and_row() -> None:
    first = exchange(ID)
    kept = unique([first, exchange(ID), exchange(ID, 4), exchange(ID, 4), exchange(ID)])
    assert [(e.request_id, e.first_row) for e in kept] == [(ID, 0), (ID, 4)]
    assert kept[0] is first


def test_other_bytes_under_one_id_are_other_requests() -> None:
    kept = unique([exchange("x", 0, c) for c in "abacb"])
    assert [e.request_id for e in kept] == ["x", "x#2", "x#3"]
    assert [e.content for e in kept] == ["a", "b", "c"]
    assert (kept[1].bytes_up, kept[1].bytes_down, kept[1].arrival_ns) == (1, 2, 3)


def test_without_an_id_nothing_is_a_retry() -> None:
    kept = unique([exchange(""), exchange(""), exchange("", 2)])
    assert [(e.request_id, e.first_row) for e in kept] == [("", 0), ("#2", 0), ("", 2)]
