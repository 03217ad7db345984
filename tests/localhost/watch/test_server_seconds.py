"""What a server says of its own time is a number of microseconds, or it is not heard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from flaky import Flaky
from halves import Client, images

from edge_client.client import EdgeClient
from edge_client.micro_batch import server_seconds
from splitlab.wire import Reply
from splitlab.wire.messages import Parameter


def test_microseconds_become_seconds_by_stage() -> None:
    told: Mapping[str, Parameter] = {
        "splitlab_queue_us": 500_000,
        "splitlab_decode_us": 250_000,
        "splitlab_encode_us": 125_000.0,
        "splitlab_bodies_us": 0,
        "other": 7,
    }
    assert server_seconds(told, 1.0) == {"queue": 0.5, "codec": 0.375, "bodies": 0.0}
    assert server_seconds({"other": 7}, 1.0) == {}


@pytest.mark.parametrize(
    "odd", ["abc", "1", True, float("nan"), float("inf"), -1, -0.5, 1e308, 1_000_001, 2**63 - 1]
)
def test_anything_else_is_left_out(odd: Parameter) -> None:
    assert server_seconds({"splitlab_queue_us": odd}, 1.0) == {}
    told = {"splitlab_queue_us": odd, "splitlab_decode_us": odd, "splitlab_encode_us": 1_000_000}
    assert server_seconds(told, 1.0) == {"queue": 0.0, "codec": 1.0, "bodies": 0.0}


def test_a_server_that_talks_nonsense_of_its_time_still_serves() -> None:
    server = Flaky(lambda _: None)
    infer = server._handler.infer

    def odd(raw: bytes) -> object:
        done = infer(raw)
        reply = Reply.from_bytes(done.reply)
        told = {"splitlab_queue_us": "abc", "splitlab_bodies_us": float("nan")}
        return done._replace(reply=replace(reply, parameters=told).to_bytes())

    server._handler.infer = odd  # type: ignore[assignment, method-assign]
    try:
        with EdgeClient(Client(), [server.address]) as client:
            found = client.infer(images(3))
    finally:
        server.stop()
    assert found.logits.shape == (3, 3)
    assert set(found.latency) >= {"network"}
    assert not {"queue", "codec", "bodies"} & set(found.latency)
