"""The client: noise, batching, selectors, retries with the same bytes, and errors in words."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import torch
from flaky import Flaky
from halves import Client, Server, images

from cloud_server.handler import Answered
from cloud_server.server import CloudServer
from edge_client import holders, transport
from edge_client.client import EdgeClient
from splitlab.capture import Capture, CaptureWriter
from splitlab.errors import BadInput, Mismatch, ServerRefused, ServerUnavailable
from splitlab.wire import codec

Serve = Callable[..., CloudServer]
ID = "0123456789abcdef0123456789abcdef"


def error_of(given: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((given - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(
    ("wire", "tolerance"), [("FP32", 1e-5), ("FP16", 5e-3), ("BF16", 3e-2), ("INT8", 5e-2)]
)
def test_the_answer_is_the_whole_network_s(serve: Serve, wire: str, tolerance: float) -> None:
    half, server = Client(total=2, chosen=(1,), wire=wire), Server(body_ids=[0, 1], wire=wire)
    x = images(19)
    with EdgeClient(half, [serve(server).address]) as client:
        result = client.infer(x)
    wanted = half.whole(x, server.bodies)
    assert error_of(result.logits, wanted) <= tolerance
    if wire == "FP32":
        assert torch.equal(result.logits.argmax(1), wanted.argmax(1))
    assert result.messages == 3  # 19 rows, at most 8 a message
    assert result.retries == 0


def test_several_servers_hold_different_bodies(serve: Serve) -> None:
    half, x = Client(total=3, chosen=(0, 2)), images(4)
    addresses = [serve(Server(body_ids=ids)).address for ids in ([2], [0, 1])]
    with EdgeClient(half, addresses) as client:
        result = client.infer(x)
    assert error_of(result.logits, half.whole(x, Server(body_ids=[0, 1, 2]).bodies)) <= 1e-5
    with (
        EdgeClient(half, addresses[:1]) as client,
        pytest.raises(Mismatch, match="no server holds output_0, output_1"),
    ):
        client.handshake()
    with (
        EdgeClient(half, [addresses[0]] * 2) as client,
        pytest.raises(Mismatch, match="output_2 is held by"),
    ):
        client.handshake()


def captured(folder: Path) -> tuple[list[str], torch.Tensor]:
    """Ids and features in the order of the rows; messages under way at once may overtake."""
    ids, features = Capture.open(folder).features()
    order = sorted(range(len(ids)), key=lambda i: int(ids[i].partition("/")[2]))
    return [ids[i] for i in order], features[order]


def test_noise_does_not_depend_on_the_batching(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, found = Client(noise=1.0), []
    for rows in (8, 3, 1):
        folder = tmp_path / str(rows)
        tap = CaptureWriter(folder, "server")
        monkeypatch.setattr(codec, "MICRO_BATCH_BYTES", rows * 4 * 6 * 6 * 4)
        with EdgeClient(half, [serve(tap=tap).address]) as client:
            assert client.rows == rows
            client.infer(images(7), request_id=ID)
        tap.close()
        found.append(captured(folder))
    for ids, z in found:
        assert ids == [f"{ID}/{row}" for row in range(7)]
        assert torch.allclose(z, found[0][1], atol=1e-6)
    assert float((found[0][1] - half.head(images(7))).abs().mean()) > 0.5


def test_requests_under_two_selectors_are_the_same_bytes(serve: Serve, tmp_path: Path) -> None:
    sent = []
    for number, chosen in enumerate(((0,), (1, 2))):
        tap = CaptureWriter(tmp_path / str(number), "server")
        half = Client(total=3, chosen=chosen, noise=0.5)
        with EdgeClient(half, [serve(Server(body_ids=[0, 1, 2]), tap=tap).address]) as client:
            client.infer(images(10), request_id=ID)
        tap.close()
        frames = Capture.open(tmp_path / str(number)).frames()
        sent.append(sorted(frame.data for frame in frames if frame.direction == "up"))
    assert len(sent[0]) == 2
    assert sent[0] == sent[1]


def test_a_retry_sends_the_same_bytes_and_the_answer_is_unchanged(
    flaky: Callable[..., Flaky],
) -> None:
    down = grpc.StatusCode.UNAVAILABLE
    server = flaky(lambda attempt: down if attempt in (1, 3, 4) else None)
    half, x = Client(noise=0.3), images(20)
    with EdgeClient(half, [server.address], window=2) as client:
        result = client.infer(x, request_id=ID)
    calm = flaky(lambda _: None)
    with EdgeClient(half, [calm.address]) as client:
        wanted = client.infer(x, request_id=ID)
    assert torch.equal(result.logits, wanted.logits)
    assert result.retries == 3
    counts = Counter(server.raws)
    assert set(counts) == set(calm.raws)
    assert sum(counts.values()) == len(calm.raws) + 3


def test_whoever_listens_is_told_once_of_a_failure_and_of_its_end(
    flaky: Callable[..., Flaky], monkeypatch: pytest.MonkeyPatch
) -> None:
    down = grpc.StatusCode.UNAVAILABLE
    server = flaky(lambda attempt: down if attempt in (2, 3, 9) else None)
    told: list[str] = []
    with EdgeClient(Client(), [server.address], window=1, notice=told.append) as client:
        client.infer(images(40))
        again = f"{server.address} answers again"
        fails = f"{server.address} fails (UNAVAILABLE); what it was sent is sent again"
        assert told == [fails, again]
        client.infer(images(40))
        assert told == [fails, again] * 2
    told.clear()
    go = threading.Event()

    def stalls(_attempt: int) -> None:
        assert go.wait(20)

    def hear(words: str) -> None:
        told.append(words)
        go.set()

    monkeypatch.setattr("edge_client.holders.STALL_S", 0.01)
    slow = flaky(stalls)
    with EdgeClient(Client(), [slow.address], notice=hear) as client:
        client.infer(images(2))
    assert told[0].startswith(f"{slow.address} has not answered for")
    assert told[1:] == [f"{slow.address} answers again"]


def test_retries_are_bounded(flaky: Callable[..., Flaky]) -> None:
    server = flaky(lambda _: grpc.StatusCode.UNAVAILABLE)
    with (
        EdgeClient(Client(), [server.address], retries=2) as client,
        pytest.raises(ServerUnavailable, match=rf"{server.address} does not answer after 3 att"),
    ):
        client.infer(images(2))
    assert len(server.raws) == 3
    assert len(set(server.raws)) == 1


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INTERNAL, ServerRefused),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerRefused),
        (grpc.StatusCode.INVALID_ARGUMENT, ServerRefused),
        (grpc.StatusCode.FAILED_PRECONDITION, Mismatch),
        (grpc.StatusCode.DEADLINE_EXCEEDED, ServerUnavailable),
        (grpc.StatusCode.CANCELLED, ServerUnavailable),
    ],
)
def test_nothing_else_is_retried(
    flaky: Callable[..., Flaky], code: grpc.StatusCode, error: type[Exception]
) -> None:
    server = flaky(lambda _: code)
    with (
        EdgeClient(Client(), [server.address]) as client,
        pytest.raises(error, match=server.address),
    ):
        client.infer(images(2))
    assert len(server.raws) == 1


def test_a_deadline_is_kept_and_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            EdgeClient(Client(), [address], deadline_s=0.2) as client,
            pytest.raises(
                ServerUnavailable, match=rf"{address} did not answer within 0.2 s.*--dea"
            ),
        ):
            client.handshake()


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with (
        EdgeClient(Client(), [address], retries=1) as client,
        pytest.raises(ServerUnavailable, match=rf"{address} does not answer.*is cloud-server runn"),
    ):
        client.handshake()


@pytest.mark.parametrize(
    ("server", "error", "words"),
    [
        (Server(digest="e" * 64), Mismatch, "holds deployment eeeeeeeeeeee, this client half belo"),
        (Server(model_name="other"), ServerRefused, "unknown model 'tiny'; nearest: other"),
        (Server(wire="FP16"), Mismatch, r"feature is FP16 .* this client half has FP32"),
        (Server(body_ids=[1]), Mismatch, "no server holds output_0"),
    ],
)
def test_a_server_that_does_not_belong_is_named_before_anything_is_sent(
    serve: Serve, tmp_path: Path, server: Server, error: type[Exception], words: str
) -> None:
    tap = CaptureWriter(tmp_path, "server")
    with (
        EdgeClient(Client(), [serve(server, tap=tap).address]) as client,
        pytest.raises(error, match=words),
    ):
        client.infer(images(2))
    assert tap.close().frames == 0


def test_a_server_that_answers_nonsense_is_named(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    with EdgeClient(Client(), [server.address]) as client:
        client.handshake()
        monkeypatch.setattr(
            server._servicer._handler, "infer", lambda *_, **__: Answered(b"\xff", "", 1, {}, ())
        )
        with pytest.raises(ServerRefused, match="answered with something else than was asked for"):
            client.infer(images(2))


def test_a_server_gone_in_mid_run_and_back_again_costs_only_retries(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, half, x = serve(), Client(noise=0.2), images(40)
    head, heads = half.head, []

    def head_that_stops_the_server(batch: torch.Tensor) -> torch.Tensor:
        heads.append(len(batch))
        if len(heads) == 3:
            first.stop(quiet=0)
        return head(batch)

    tap = CaptureWriter(tmp_path, "server")
    pauses: list[float] = []

    def pause_that_brings_it_back(seconds: float) -> None:
        if not pauses:
            serve(listen=first.address, tap=tap)
        pauses.append(seconds)
        threading.Event().wait(seconds)

    monkeypatch.setattr(half, "head", head_that_stops_the_server)
    monkeypatch.setattr(holders, "sleep", pause_that_brings_it_back)
    with EdgeClient(half, [first.address], window=1) as client:
        result = client.infer(x, request_id=ID)
    assert result.retries == len(pauses) >= 1
    assert len(heads) == 5
    tap.close()
    rows = captured(tmp_path)[0]
    assert rows == [f"{ID}/{row}" for row in range(16, 40)]
    monkeypatch.setattr(half, "head", head)
    with EdgeClient(half, [serve().address]) as client:
        assert torch.equal(result.logits, client.infer(x, request_id=ID).logits)


@pytest.mark.parametrize("shape", [(3, 12, 12), (0, 3, 12, 12), (2, 3, 12, 13), (2, 1, 12, 12)])
def test_images_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with (
        EdgeClient(Client(), ["localhost:1"]) as client,
        pytest.raises(BadInput, match=r"\['B', 3, 12, 12\] is taken"),
    ):
        client.infer(torch.zeros(shape))


def test_no_server_and_plaintext_off_loopback_are_refused() -> None:
    with pytest.raises(BadInput, match="at least one server"):
        EdgeClient(Client(), [])
    with pytest.raises(BadInput, match="--insecure"):
        EdgeClient(Client(), ["192.0.2.1:50051"])
    EdgeClient(Client(), ["192.0.2.1:50051"], insecure=True).close()


def test_every_stage_has_one_value_for_each_micro_batch(serve: Serve) -> None:
    with EdgeClient(Client(), [serve().address]) as client:
        result = client.infer(images(19))
    stages = {
        *("head", "protect", "encode", "decode", "tail"),
        *("network", "queue", "codec", "bodies"),
    }
    assert set(result.latency) == stages
    assert {len(values) for values in result.latency.values()} == {3}
    assert all(value >= 0 for values in result.latency.values() for value in values)
    assert sum(result.stages.values()) == pytest.approx(1000 * result.seconds, rel=1e-9)
    assert set(result.stages) <= {*stages, "other"}
    assert result.payload_up == 19 * 4 * 6 * 6 * 4
    assert result.payload_down == 19 * 5 * 4
    assert result.payload_up < result.bytes_up < result.payload_up + 3 * 400
