"""What the server says of refusals and of its own faults: counted, seldom, and as JSON."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator

import grpc
import pytest
import torch
from halves import FEATURE, Client, Server, images

from cloud_server.guard.limits import Limits
from cloud_server.server import CloudServer
from cloud_server.watch.logs import LINE_SECONDS, JsonLines, Seldom
from cloud_server.watch.telemetry import REASONS, Telemetry
from edge_client.client import EdgeClient
from splitlab.errors import ServerRefused
from splitlab.wire import Request, encode
from splitlab.wire.messages import INFER, SERVICE

Serve = Callable[..., CloudServer]


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the server's own log writes, as JSON."""
    stream, logger = io.StringIO(), logging.getLogger("cloud_server")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def told(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_each_kind_is_told_once_in_a_while_with_what_was_left_out(lines: io.StringIO) -> None:
    now = [0.0]
    seldom = Seldom(lambda: now[0])
    for _ in range(5):
        seldom.say("calls", "too many", peer="x")
    seldom.say("memory", "no room")
    now[0] = LINE_SECONDS
    for _ in range(3):
        seldom.say("calls", "too many", peer="y")
    seldom.close()
    seldom.close()
    found = [(line["reason"], line["left_out"], line.get("peer")) for line in told(lines)]
    assert found == [("calls", 0, "x"), ("memory", 0, None), ("calls", 4, "y"), ("calls", 2, None)]
    first = told(lines)[0]
    assert (first["event"], first["level"], first["message"]) == ("refused", "warning", "too many")


def test_reasons_are_counted_from_the_start_and_are_few() -> None:
    telemetry = Telemetry([0])
    telemetry.refused("crowded", "ipv4:192.0.2.1:1")
    for reason in REASONS:
        name = "splitlab_refusals_total"
        value = telemetry.registry.get_sample_value(name, {"reason": reason})
        assert value == (reason == "crowded")
    with pytest.raises(KeyError):
        telemetry.refused("made up", "x")


def test_refusals_are_told_whatever_the_calendar_says(lines: io.StringIO) -> None:
    """It may be set back by hours, for which nothing would be written."""
    days = iter([1e9, 0.0])
    telemetry = Telemetry([0], clock=lambda: next(days))
    telemetry.refused("crowded", "x")
    telemetry.refused("memory", "x")
    assert [line["reason"] for line in told(lines)] == ["crowded", "memory"]
    assert next(days) == 1e9  # nobody asked it


def refusals(server: CloudServer) -> dict[str, float]:
    """Of which reason there were how many, over the port that Prometheus reads."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as page:
        text = page.read().decode()
    start = 'splitlab_refusals_total{reason="'
    found = [line.removeprefix(start) for line in text.splitlines() if line.startswith(start)]
    counts = {line.partition('"')[0]: float(line.split()[-1]) for line in found}
    return {reason: count for reason, count in counts.items() if count}


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come true")


def test_refusals_reach_counter_and_log(serve: Serve, lines: io.StringIO) -> None:
    server = serve(limits=Limits(peer_calls=1), metrics="127.0.0.1:0", token="0123456789abcdef")
    with grpc.insecure_channel(server.address) as channel:
        metadata = (("authorization", "Bearer 0123456789abcdef"),)
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(INFER)(b"")
        with pytest.raises(grpc.RpcError) as over:
            channel.unary_unary(INFER)(bytes(1 << 20), metadata=metadata)
        assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        until(lambda: "unread" in refusals(server))
        until(lambda: server._gate.admission.open == (0, 0))
        held = server._gate.admission.enter("ipv4:127.0.0.1:1")
        with (
            EdgeClient(Client(), [server.address], token="0123456789abcdef", retries=0) as client,
            pytest.raises(ServerRefused, match="1 calls of yours are open"),
        ):
            client.handshake()
        held.leave()
    assert refusals(server) == {"token": 1, "unread": 1, "calls": 1}
    assert {line["reason"] for line in told(lines)} == {"token", "unread", "calls"}
    for line in told(lines):
        assert str(line["peer"]).startswith("ipv4:127.0.0.1:")


def test_a_peer_that_says_nothing_is_counted_once(serve: Serve) -> None:
    server = serve(limits=Limits(patience=0.1), metrics="127.0.0.1:0")
    with grpc.insecure_channel(server.address) as channel:
        silence = threading.Event()
        call = channel.stream_unary(INFER).future(iter(lambda: silence.wait(20), True))
        assert call.code() is grpc.StatusCode.CANCELLED
        silence.set()
    until(lambda: server._gate.admission.open == (0, 0))
    assert refusals(server) == {"patience": 1}


def test_an_answer_that_the_wire_does_not_carry_is_no_fault(
    serve: Serve, lines: io.StringIO
) -> None:
    """A stranger's feature makes it, as often as he likes."""
    half = Server()
    half.bodies[0].linear.weight.fill_(10.0)
    server = serve(half, metrics="127.0.0.1:0")
    feature = torch.full((1, *FEATURE), 3e38)
    raw = Request(model_name="tiny", message_id="x", tensors=tuple(encode(feature, "FP32")))
    client = EdgeClient(Client(), [server.address], retries=0)
    with grpc.insecure_channel(server.address) as channel, client:
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(INFER)(raw.to_bytes())
            assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        half.bodies[0].linear.bias.fill_(torch.inf)
        with pytest.raises(
            ServerRefused, match=r"OUT_OF_RANGE: output_0 holds NaN or Inf.*--check$"
        ) as told_client:
            client.infer(images(1))
    assert "server's own log" not in str(told_client.value)
    assert refusals(server) == {"range": 4}
    (line,) = told(lines)
    assert (line["event"], line["level"], line["reason"]) == ("refused", "warning", "range")
    assert "traceback" not in line


def test_faults_of_one_kind_are_told_once_in_a_while(
    serve: Serve, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Server()
    faults: list[Exception] = [ZeroDivisionError("one"), ZeroDivisionError("two"), KeyError("odd")]
    left = iter([*faults, ZeroDivisionError("three")])

    def broken(_: object) -> None:
        raise next(left)

    monkeypatch.setattr(half.bodies[0], "forward", broken)
    server = serve(half, metrics="127.0.0.1:0")
    raw = Request(
        model_name="tiny", message_id="x", tensors=tuple(encode(torch.zeros(1, *FEATURE), "FP32"))
    )
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(4):
            with pytest.raises(grpc.RpcError, match="INTERNAL"):
                channel.unary_unary(INFER)(raw.to_bytes())
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as page:
        assert 'splitlab_requests_total{code="INTERNAL"} 4.0' in page.read().decode()
    server.stop()
    first, second, last = told(lines)
    assert [line["event"] for line in (first, second, last)] == ["failed"] * 3
    assert str(first["traceback"]).endswith("ZeroDivisionError: one\n")
    assert str(second["traceback"]).endswith("KeyError: 'odd'\n")
    assert (last["reason"], last["left_out"]) == ("ZeroDivisionError", 2)
    assert "traceback" not in last


@pytest.mark.parametrize(
    "method",
    [
        f"/{SERVICE}/ModelReady",
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_bytes_that_are_no_message_are_refused_without_a_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    server = serve()
    with grpc.insecure_channel(server.address) as channel:
        for _ in range(6):
            with pytest.raises(grpc.RpcError) as caught:
                list(channel.stream_stream(method)(iter([b"\xff\xff"]), timeout=120))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    stopping = threading.Thread(target=server.stop, args=(0, 0), daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()  # no call is left over
    assert caplog.records == []


def test_a_fault_is_one_line_with_its_traceback_and_no_feature(
    serve: Serve, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Server()

    def broken(_: object) -> None:
        raise ZeroDivisionError("a body broke")

    monkeypatch.setattr(half.bodies[0], "forward", broken)
    server = serve(half)
    with (
        EdgeClient(Client(), [server.address], retries=0) as client,
        pytest.raises(ServerRefused, match="INTERNAL"),
    ):
        client.infer(images(1))
    (line,) = told(lines)
    assert (line["level"], line["message"]) == ("error", "a request failed")
    assert str(line["traceback"]).startswith("Traceback")
    assert "ZeroDivisionError: a body broke" in str(line["traceback"])


def test_warnings_and_threads_that_die_are_json_too() -> None:
    code = (
        "import sys, threading, warnings; from cloud_server.watch.logs import log_as_json\n"
        "log_as_json(sys.stderr); warnings.warn('odd')\n"
        "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n"
        "raise KeyError('lost')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in found] == ["warning", "critical", "critical"]
    assert "odd" in found[0]["message"]
    assert "ZeroDivisionError" in found[1]["traceback"]
    assert "KeyError: 'lost'" in found[2]["traceback"]
