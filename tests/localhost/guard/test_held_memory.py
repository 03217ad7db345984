"""What the memory that is granted counts: a message, its values in FP32, and its reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import torch
from halves import FEATURE, Server

from cloud_server.guard.limits import Limits
from cloud_server.handler import largest_held, largest_request
from cloud_server.server import CloudServer
from splitlab.errors import BadInput
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER

# Bytes of a row of 144 values, of its reply of 5, and of a scale and a zero point for 4 channels.
ROWS = {"FP32": (576, 20), "FP16": (288, 10), "BF16": (288, 10), "INT8": (144 + 32, 20)}


@pytest.mark.parametrize("wire", list(ROWS))
def test_a_request_is_counted_with_its_values_and_its_reply(
    serve: Callable[..., CloudServer], monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    server = serve(Server(wire=wire))
    admission, run, held = server._gate.admission, server._engine.run, []

    def noted(*arguments: Any) -> Any:
        held.append(admission.open[1])
        return run(*arguments)

    monkeypatch.setattr(server._engine, "run", noted)
    feature = torch.rand(8, *FEATURE)
    raw = Request("tiny", "0" * 32 + "-0", tuple(encode(feature, wire))).to_bytes()
    with grpc.insecure_channel(server.address) as channel:
        channel.unary_unary(INFER)(raw, timeout=120)
    row, reply = ROWS[wire]
    wanted = 8 * (row + 4 * 144 + reply)
    assert wanted <= held[0] < 1.5 * wanted  # there is an envelope


def test_the_largest_request_must_have_room_with_its_values(
    serve: Callable[..., CloudServer],
) -> None:
    half = Server(wire="INT8")
    assert largest_held(half) > 4 * largest_request(half)
    with pytest.raises(BadInput, match="--max-memory: the deployment's largest request takes"):
        serve(half, limits=Limits(memory=4 * largest_request(half)))
    serve(half, limits=Limits(memory=largest_held(half)))
