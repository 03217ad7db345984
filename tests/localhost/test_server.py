"""The server's answers to good and bad requests, by status code; health, reflection, streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from halves import FEATURE, Server

from cloud_server.engines.engine import Engine
from cloud_server.guard.limits import Limits
from cloud_server.handler import Abandoned, Handler
from cloud_server.server import CloudServer
from cloud_server.servicer import status_of
from splitlab.capture import Capture, CaptureWriter
from splitlab.errors import BadInput, StorageFull
from splitlab.wire import Reply, Request, WireTensor, decode, encode
from splitlab.wire import open_inference_pb2 as pb
from splitlab.wire.messages import INFER, SERVICE, STREAM_INFER, from_stream
from splitlab.wire.open_inference_pb2_grpc import GRPCInferenceServiceStub

Serve = Callable[..., CloudServer]
SECONDS = 120


def z(rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, *FEATURE, generator=torch.Generator().manual_seed(3))


def request(**changes: Any) -> Request:
    fields: dict[str, Any] = {
        "model_name": "tiny",
        "message_id": "id-1",
        "tensors": tuple(encode(z(), "FP32")),
    }
    return Request(**{**fields, **changes})


@pytest.fixture
def channel(serve: Serve) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(serve(Server(body_ids=[0, 1])).address) as opened:
        yield opened


def infer(channel: grpc.Channel, raw: bytes) -> Reply:
    return Reply.from_bytes(channel.unary_unary(INFER)(raw, timeout=SECONDS))


def test_every_body_answers_in_order(channel: grpc.Channel) -> None:
    reply = infer(channel, request().to_bytes())
    assert [tensor.name for tensor in reply.tensors] == ["output_0", "output_1"]
    for i, body in enumerate(Server(body_ids=[0, 1]).bodies):
        given = decode(reply.tensors, name=f"output_{i}")
        assert float((given - body(z())).abs().max()) <= 1e-5
    assert (reply.model_name, reply.message_id, reply.model_version) == ("tiny", "id-1", "1")
    assert {name for name in reply.parameters if name.endswith("_us")} == {
        f"splitlab_{stage}_us" for stage in ("queue", "decode", "bodies", "encode")
    }


def test_outputs_can_be_asked_for_by_name(channel: grpc.Channel) -> None:
    reply = infer(channel, request(outputs=("output_1",)).to_bytes())
    assert [tensor.name for tensor in reply.tensors] == ["output_1"]


def tensor(**changes: Any) -> tuple[WireTensor, ...]:
    return (dataclasses.replace(encode(z(), "FP32")[0], **changes),)


BAD_REQUESTS = {
    "not protobuf": (b"\xff\xff\xff", "INVALID_ARGUMENT", "not a ModelInferRequest"),
    "no input": (request(tensors=()), "INVALID_ARGUMENT", "'feature' is missing"),
    "datatype": (
        request(tensors=tuple(encode(z(), "FP16"))),
        "INVALID_ARGUMENT",
        "came as FP16, FP32 was wanted",
    ),
    "shape": (
        request(tensors=tuple(encode(z().flatten(1), "FP32"))),
        "INVALID_ARGUMENT",
        "['B', 4, 6, 6] was wanted",
    ),
    "byte count": (
        request(tensors=tensor(data=b"\0" * 12)),
        "INVALID_ARGUMENT",
        "12 bytes, 1152 were wanted",
    ),
    "no rows": (
        request(tensors=tensor(shape=(0, *FEATURE), data=b"")),
        "INVALID_ARGUMENT",
        "at least 1",
    ),
    "nan": (request(tensors=tensor(data=b"\xff" * 1152)), "INVALID_ARGUMENT", "NaN or Inf"),
    "more outputs than there are": (
        request(outputs=("output_7",) * 65),
        "INVALID_ARGUMENT",
        "has field 6 more than 64 times",
    ),
    "output": (request(outputs=("output_7",)), "INVALID_ARGUMENT", "'output_7' is not served"),
    "model": (request(model_name="tinny"), "NOT_FOUND", "unknown model 'tinny'; nearest: tiny"),
    "version": (request(model_version="2"), "NOT_FOUND", "unknown model version '2'"),
    "digest": (
        request(parameters={"splitlab_digest": "e" * 64}),
        "FAILED_PRECONDITION",
        "belongs to deployment eeeeeeeeeeee, this server holds dddddddddddd of model 'tiny'",
    ),
    "rows": (
        request(tensors=tuple(encode(z(9), "FP32"))),
        "RESOURCE_EXHAUSTED",
        "9 rows, at most 8 were declared",
    ),
    "oversized": (b"\0" * (1 << 20), "RESOURCE_EXHAUSTED", "larger than max"),
}


@pytest.mark.parametrize("name", list(BAD_REQUESTS))
def test_bad_requests_get_their_code_and_words_and_no_traceback(
    channel: grpc.Channel, name: str
) -> None:
    bad, code, words = BAD_REQUESTS[name]
    raw = bad if isinstance(bad, bytes) else bad.to_bytes()
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, raw)
    assert caught.value.code().name == code
    assert words in caught.value.details()
    assert "Traceback" not in caught.value.details()
    assert ".py" not in caught.value.details()
    infer(channel, request().to_bytes())  # and the server serves on


def test_what_was_not_foreseen_is_internal_and_tells_the_peer_nothing(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    half = Server()
    server = serve(half)

    def broken(feature: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(f"a secret of /srv/deployment about {feature.shape}")

    half.bodies[0].forward = broken
    with grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            infer(channel, request().to_bytes())
        (streamed,) = channel.stream_stream(STREAM_INFER)(iter([request().to_bytes()]))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in caught.value.details() + from_stream(streamed)[0]
    assert "a secret of /srv/deployment" in caplog.text


def test_an_output_that_does_not_fit_the_wire_is_out_of_range(serve: Serve) -> None:
    half = Server(wire="FP16")
    half.bodies[0].linear.bias.fill_(1e6)
    raw = request(tensors=tuple(encode(z(), "FP16"))).to_bytes()
    with (
        grpc.insecure_channel(serve(half).address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        infer(channel, raw)
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert "output_0 reaches 1e+06, beyond FP16's 65504" in caught.value.details()


def test_a_caller_that_gave_up_is_not_computed() -> None:
    half = Server()
    runs: list[int] = []
    half.bodies[0].register_forward_hook(lambda *_: runs.append(1))
    engine = Engine(list(half.bodies), FEATURE, name="plain")
    with pytest.raises(Abandoned) as caught:
        Handler(half, engine).infer(request().to_bytes(), lambda: False)
    engine.close()
    assert runs == []
    assert status_of(caught.value)[0] is grpc.StatusCode.CANCELLED


def test_a_stream_goes_on_after_an_error_in_band(channel: grpc.Channel) -> None:
    sent = [
        request().to_bytes(),
        request(message_id="id-2", model_name="x").to_bytes(),
        request(message_id="id-3").to_bytes(),
    ]
    answers = [
        from_stream(raw) for raw in channel.stream_stream(STREAM_INFER)(iter(sent), timeout=SECONDS)
    ]
    assert [reply.message_id for _, reply in answers] == ["id-1", "id-2", "id-3"]
    assert [bool(error) for error, _ in answers] == [False, True, False]
    assert "unknown model 'x'" in answers[1][0]
    assert torch.equal(
        decode(answers[0][1].tensors, name="output_0"),
        decode(answers[2][1].tensors, name="output_0"),
    )


def test_too_many_streams_leave_room_for_unary_calls(serve: Serve) -> None:
    from queue import SimpleQueue

    with grpc.insecure_channel(serve(limits=Limits(streams=1)).address) as channel:
        going: SimpleQueue[bytes | None] = SimpleQueue()
        going.put(request().to_bytes())
        first = channel.stream_stream(STREAM_INFER)(iter(going.get, None), timeout=SECONDS)
        next(first)
        with pytest.raises(grpc.RpcError) as caught:
            list(channel.stream_stream(STREAM_INFER)(iter([]), timeout=SECONDS))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        infer(channel, request().to_bytes())
        going.put(None)
        assert list(first) == []


def test_metadata_describes_what_is_served(serve: Serve) -> None:
    with grpc.insecure_channel(serve(Server(body_ids=[0, 2], wire="INT8")).address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        model = stub.ModelMetadata(pb.ModelMetadataRequest(name="tiny"), timeout=SECONDS)
        server = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=SECONDS)
        assert stub.ServerLive(pb.ServerLiveRequest()).live
        assert stub.ServerReady(pb.ServerReadyRequest()).ready
        assert stub.ModelReady(pb.ModelReadyRequest(name="tiny")).ready
        for method, kind in (
            (stub.ModelReady, pb.ModelReadyRequest),
            (stub.ModelMetadata, pb.ModelMetadataRequest),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                method(kind(name="other"))
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [
        ("feature", "INT8", [-1, 4, 6, 6]),
        ("feature_scale", "FP32", [-1, 4]),
        ("feature_zero_point", "FP32", [-1, 4]),
    ]
    assert [(t.name, t.datatype, list(t.shape)) for t in model.outputs] == [
        ("output_0", "FP32", [-1, 5]),
        ("output_2", "FP32", [-1, 5]),
    ]
    assert f"splitlab_digest:{'d' * 64}" in server.extensions


def test_health_and_reflection(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    reflected = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([asked]), timeout=SECONDS
    )
    names = {service.name for service in next(reflected).list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


def test_the_tap_keeps_the_bytes_as_they_came_and_went(serve: Serve, tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server")
    with grpc.insecure_channel(serve(tap=tap).address) as channel:
        # Fields in another order and an unknown one: re-serialising would change these bytes.
        raw = request().to_bytes() + b"\xfa\x3f\x01x"
        answer = channel.unary_unary(INFER)(raw, timeout=SECONDS)
        streamed = list(channel.stream_stream(STREAM_INFER)(iter([raw]), timeout=SECONDS))
        with pytest.raises(grpc.RpcError):
            infer(channel, b"\xff")
    tap.close()
    frames = list(Capture.open(tmp_path).frames())
    assert [frame.data for frame in frames] == [raw, answer, raw, *streamed, b"\xff"]
    assert frames[0].peer.startswith("ipv4:127.0.0.1:")


def test_serving_goes_on_when_the_tap_s_disk_is_full(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr("splitlab.capture.writer.write_shard", full)
    told: list[str] = []
    tap = CaptureWriter(tmp_path, "server", shard_bytes=1, report=told.append)
    with grpc.insecure_channel(serve(tap=tap).address) as channel:
        for _ in range(5):
            infer(channel, request().to_bytes())
    stats = tap.close()
    assert (stats.frames, stats.dropped) == (0, 10)
    assert len(told) == 1
    assert Capture.open(tmp_path).dropped == 10


def test_a_port_that_is_taken_is_an_error(serve: Serve) -> None:
    with pytest.raises(BadInput, match=r"--listen 127.0.0.1:\d+: cannot bind; the port is taken"):
        serve(listen=serve().address)


def test_plaintext_off_loopback_is_refused(serve: Serve) -> None:
    with pytest.raises(BadInput, match="--insecure"):
        serve(listen="0.0.0.0:0")
    serve(listen="0.0.0.0:0", insecure=True)
