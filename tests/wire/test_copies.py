"""How often our code copies a feature's bytes: what `bench perf transport` states, counted."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from bench.perf.serving.echo import SHAPE, EchoServer
from bench.perf.serving.transport import COPIES, ROW_BYTES
from cloud_server.engines.engine import Engine
from cloud_server.guard.limits import Limits
from cloud_server.handler import Handler
from cloud_server.servicer import Servicer
from cloud_server.watch.telemetry import Telemetry
from splitlab.wire import Reply, Request, decode, encode
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.messages import from_stream_message

ROWS = 16
SIZE = ROWS * ROW_BYTES


@pytest.fixture(scope="module")
def feature() -> torch.Tensor:
    return torch.rand(ROWS, *SHAPE, generator=torch.Generator().manual_seed(0))


def copies(work: Callable[[], object]) -> float:
    """What `work` holds at most beyond what was there, in features; it allocates with Python and
    NumPy, which tell.
    """
    work()  # whatever is made once is there
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = work()
        _, peak = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return (peak - before) / SIZE


def exactly(count: int) -> object:
    """A message has a little around its contents, and parsing it a little memory."""
    return pytest.approx(count, abs=0.1)


def request(feature: torch.Tensor) -> bytes:
    return Request("echo", "0" * 32 + "-0", tuple(encode(feature, "FP32"))).to_bytes()


def reply(feature: torch.Tensor, *, streamed: bool) -> bytes:
    tensors = tuple(encode(feature, "FP32", "output_0"))
    return Reply("echo", "0" * 32 + "-0", tensors).to_bytes(streamed=streamed)


@contextmanager
def servicer() -> Iterator[Servicer]:
    half = EchoServer()
    engine = Engine(list(half.bodies), SHAPE, name="plain")
    try:
        yield Servicer(Handler(half, engine), None, Limits(), Telemetry(half.body_ids))
    finally:
        engine.close()


def test_a_sender_copies_into_the_message_and_no_more(feature: torch.Tensor) -> None:
    assert copies(lambda: request(feature)) == exactly(COPIES["sender"])
    assert copies(lambda: reply(feature, streamed=False)) == exactly(COPIES["sender"])
    assert copies(lambda: reply(feature, streamed=True)) == exactly(COPIES["sender"])


def test_a_receiver_copies_out_of_the_message_and_no_more(feature: torch.Tensor) -> None:
    up, down = request(feature), reply(feature, streamed=True)
    assert copies(lambda: decode(Request.from_bytes(up).tensors)) == exactly(COPIES["receiver"])

    def answered() -> torch.Tensor:
        _, raw = from_stream_message(down)
        return decode(Reply.from_bytes(raw).tensors, name="output_0")

    assert copies(answered) == exactly(COPIES["receiver"])
    assert torch.equal(answered(), feature)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_server_copies_once_in_and_once_out(feature: torch.Tensor, streamed: bool) -> None:
    raw, context = request(feature), SimpleNamespace(is_active=lambda: True, peer=lambda: "here")
    with servicer() as served:

        def echo() -> bytes:
            if not streamed:
                return served._infer(raw, context)
            (answer,) = served._stream_infer(iter([raw]), context)
            return answer

        assert copies(echo) == exactly(COPIES["receiver"] + COPIES["sender"])
        answer = echo()
    if streamed:
        answer = bytes(from_stream_message(answer)[1])
    assert torch.equal(decode(Reply.from_bytes(answer).tensors, name="output_0"), feature)


def test_a_streamed_reply_is_protobufs_own_bytes(feature: torch.Tensor) -> None:
    inner = pb.ModelInferResponse.FromString(reply(feature, streamed=False))
    whole = pb.ModelStreamInferResponse(infer_response=inner)
    assert reply(feature, streamed=True) == whole.SerializeToString(deterministic=True)
