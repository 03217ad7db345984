"""Captures: what a tap keeps is whole, and what is not whole is said."""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from splitlab.capture import Capture, CaptureWriter, writer
from splitlab.errors import BadInput, Corrupt, StorageFull
from splitlab.wire import Reply, Request, encode
from splitlab.wire.messages import INFER, STREAM_INFER, stream_error

ID = "0123456789abcdef0123456789abcdef"


def request(
    message_id: str, feature: torch.Tensor, datatype: str = "FP32", **changes: Any
) -> bytes:
    fields = {"model_name": "m", "message_id": message_id, **changes}
    return Request(tensors=tuple(encode(feature, datatype)), **fields).to_bytes()


def reply(message_id: str, *outputs: torch.Tensor, streamed: bool = False) -> bytes:
    tensors = [encode(y, "FP32", f"output_{i}")[0] for i, y in enumerate(outputs)]
    made = Reply(model_name="m", message_id=message_id, tensors=tuple(tensors))
    return made.to_bytes(streamed=streamed)


def z(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, 2, 3, 3, generator=torch.Generator().manual_seed(seed))


def record(tap: CaptureWriter, up: bytes, down: bytes | None = None, method: str = INFER) -> None:
    call = tap.new_call()
    tap.record(call, "up", up, method=method, peer="ipv4:127.0.0.1:4")
    if down is not None:
        tap.record(call, "down", down, method=method, peer="ipv4:127.0.0.1:4")


def small(folder: Path) -> list[bytes]:
    """A closed capture of six frames in three shards."""
    tap = CaptureWriter(folder, "server", shard_bytes=1)
    frames = []
    for row in range(3):
        up, down = request(f"{ID}-{row}", z(1, row)), reply(f"{ID}-{row}", z(1, row + 9))
        frames += [up, down]
        record(tap, up, down)
    assert tap.close().frames == 6
    return frames


def test_frames_come_back_as_they_were_in_order_of_arrival(tmp_path: Path) -> None:
    wanted = small(tmp_path / "c")
    capture = Capture.open(tmp_path / "c")
    frames = list(capture.frames())
    assert [frame.data for frame in frames] == wanted
    assert [frame.direction for frame in frames] == ["up", "down"] * 3
    assert [frame.call for frame in frames] == [0, 0, 1, 1, 2, 2]
    assert {frame.peer for frame in frames} == {"ipv4:127.0.0.1:4"}
    assert [frame.arrival_ns for frame in frames] == sorted(frame.arrival_ns for frame in frames)
    assert capture.complete
    assert capture.vantage == "server"
    assert len(list((tmp_path / "c").glob("shard-*"))) >= 2


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "BF16", "INT8"])
def test_features_are_what_the_codec_gives(tmp_path: Path, datatype: str) -> None:
    from splitlab.wire import roundtrip

    tap = CaptureWriter(tmp_path, "relay")
    record(tap, request(f"{ID}-0", z(2), datatype))
    record(tap, request(f"{ID}-2", z(3, 1), datatype))
    tap.close()
    ids, features = Capture.open(tmp_path).features()
    assert ids == [f"{ID}/{row}" for row in range(5)]
    assert torch.equal(features, roundtrip(torch.cat([z(2), z(3, 1)]), datatype))


def test_exchanges_pair_requests_with_their_replies(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "relay")
    first, second = request(f"{ID}-0", z(2)), request(f"{ID}-2", z(1, 1))
    answer = reply(f"{ID}-0", z(2, 7), z(2, 8))
    one, two = tap.new_call(), tap.new_call()
    tap.record(one, "up", first, method=INFER)
    tap.record(two, "up", second, method=INFER)
    tap.record(one, "down", answer, method=INFER)
    tap.close()
    answered, refused = Capture.open(tmp_path).exchanges()
    assert (answered.request_id, answered.first_row) == (ID, 0)
    assert answered.outputs is not None
    assert torch.equal(answered.outputs[1], z(2, 8))
    assert (answered.bytes_up, answered.bytes_down) == (len(first), len(answer))
    assert (refused.first_row, refused.outputs, refused.bytes_down) == (2, None, 0)


def test_a_stream_is_paired_by_id_and_its_errors_are_no_outputs(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "relay")
    call = tap.new_call()
    for row in (0, 1, 2):
        tap.record(call, "up", request(f"{ID}-{row}", z(1, row)), method=STREAM_INFER)
    tap.record(call, "down", reply(f"{ID}-2", z(1, 22), streamed=True), method=STREAM_INFER)
    tap.record(call, "down", stream_error("no", f"{ID}-1"), method=STREAM_INFER)
    tap.record(call, "down", reply(f"{ID}-0", z(1, 20), streamed=True), method=STREAM_INFER)
    tap.close()
    found = Capture.open(tmp_path).exchanges()
    assert [exchange.first_row for exchange in found] == [0, 1, 2]
    assert found[1].outputs is None
    for exchange, seed in ((found[0], 20), (found[2], 22)):
        assert exchange.outputs is not None
        assert torch.equal(exchange.outputs[0], z(1, seed))


def test_retries_count_once_and_foreign_ids_are_told_apart(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "relay")
    for _ in range(2):
        record(tap, request(f"{ID}-0", z(1)))
    for seed in (1, 2):
        record(tap, request("same", z(1, seed)))
    for _ in range(2):
        record(tap, request("", z(1, 3)))
    tap.close()
    ids, features = Capture.open(tmp_path).features()
    assert ids == [f"{ID}/0", "same/0", "same#2/0", "/0", "#2/0"]
    assert len(features) == 5


def test_other_methods_and_broken_messages_are_left_out(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "relay")
    record(tap, b"", b"\x08\x01", method="/grpc.health.v1.Health/Check")
    record(tap, b"\xff\xff")
    good = request(f"{ID}-0", z(1))
    record(tap, good)
    tap.close()
    capture = Capture.open(tmp_path)
    assert len(list(capture.frames())) == 4
    assert [exchange.bytes_up for exchange in capture.exchanges()] == [len(good)]


def test_a_second_start_continues_the_capture(tmp_path: Path) -> None:
    small(tmp_path)
    tap = CaptureWriter(tmp_path, "server")
    record(tap, request(f"{ID}-7", z(1, 7)))
    tap.close()
    capture = Capture.open(tmp_path)
    assert [frame.session for frame in capture.frames()] == [0] * 6 + [1]
    assert capture.features()[0] == [f"{ID}/{row}" for row in (0, 1, 2, 7)]


def test_a_killed_tap_leaves_what_it_wrote(tmp_path: Path) -> None:
    small(tmp_path)
    index = json.loads((tmp_path / "capture.json").read_text())
    index["sessions"][0].update(closed=False, frames=0, shards=0)
    (tmp_path / "capture.json").write_text(json.dumps(index))
    (tmp_path / ".shard-000003.safetensors.abcd.part").write_bytes(b"half")
    capture = Capture.open(tmp_path)
    assert not capture.complete
    assert len(capture.features()[0]) == 3


def test_two_taps_cannot_share_a_folder(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server")
    with pytest.raises(BadInput, match="another tap writes into it"):
        CaptureWriter(tmp_path, "server")
    tap.close()
    with pytest.raises(BadInput, match="vantage 'server', this one is 'tcp'"):
        CaptureWriter(tmp_path, "tcp")
    CaptureWriter(tmp_path, "server").close()


def test_sizes_alone_hold_no_features(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "tcp")
    tap.record(tap.new_call(), "up", b"", peer="tcp:127.0.0.1:4", size=1234)
    tap.close()
    capture = Capture.open(tmp_path)
    (frame,) = capture.frames()
    assert (frame.size, frame.data, frame.direction) == (1234, b"", "up")
    with pytest.raises(BadInput, match="sizes and times only"):
        capture.features()


def test_features_of_nothing_or_of_two_models_are_an_error(tmp_path: Path) -> None:
    CaptureWriter(tmp_path / "empty", "server").close()
    with pytest.raises(BadInput, match="no feature was captured"):
        Capture.open(tmp_path / "empty").features()
    tap = CaptureWriter(tmp_path / "two", "server")
    record(tap, request(f"{ID}-0", z(1)))
    record(tap, request(f"{ID}-1", torch.ones(1, 5)))
    tap.close()
    with pytest.raises(BadInput, match="of several models"):
        Capture.open(tmp_path / "two").features()


def cut_short(folder: Path) -> None:
    path = folder / "shard-000001.safetensors"
    path.write_bytes(path.read_bytes()[:-7])


def flip_a_bit(folder: Path) -> None:
    path = folder / "shard-000001.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def damage_index(folder: Path) -> None:
    (folder / "capture.json").write_text('{"format": "splitlab/cap')


def other_format(folder: Path) -> None:
    (folder / "capture.json").write_text('{"format": "x", "vantage": "server", "sessions": []}')


def forget_sessions(folder: Path) -> None:
    index = json.loads((folder / "capture.json").read_text())
    (folder / "capture.json").write_text(json.dumps({**index, "sessions": []}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_short, "shard-000001.*not a whole safetensors file"),
        (flip_a_bit, "shard-000001.*not those that the tap wrote"),
        (lambda folder: (folder / "shard-000001.safetensors").unlink(), "no such file"),
        (lambda folder: sorted(folder.glob("shard-*"))[-1].unlink(), "6 frames were written"),
        (lambda folder: (folder / "capture.json").unlink(), "capture.json: there is no such file"),
        (damage_index, "capture.json: not readable as JSON"),
        (other_format, "field 'format'"),
        (forget_sessions, "older than the shards"),
    ],
)
def test_damage_is_named_with_the_file(tmp_path: Path, damage: Any, words: str) -> None:
    tap = CaptureWriter(tmp_path, "server", flush_seconds=0.0)
    for row in range(3):
        record(tap, request(f"{ID}-{row}", z(1, row)), reply(f"{ID}-{row}", z(1)))
    tap.close()
    assert len(list(tmp_path.glob("shard-*"))) >= 2
    damage(tmp_path)
    with pytest.raises(Corrupt, match=words):
        Capture.open(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="no such folder"):
        Capture.open(tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        CaptureWriter(tmp_path / "file" / "c", "server")


@contextmanager
def blocked_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The writer's thread waits at its first shard until the event is set."""
    go = threading.Event()
    real = writer.write_shard

    def slow(*arguments: Any) -> None:
        go.wait()
        real(*arguments)

    monkeypatch.setattr(writer, "write_shard", slow)
    try:
        yield go
    finally:
        go.set()


@pytest.mark.parametrize("limits", [{"max_queue": 4}, {"max_bytes": 500}])
def test_a_slow_disk_never_blocks_and_drops_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    told: list[str] = []
    with blocked_disk(monkeypatch) as go:
        tap = CaptureWriter(tmp_path, "server", shard_bytes=1, report=told.append, **limits)
        for _ in range(50):
            tap.record(0, "up", b"x" * 100, method=INFER)
        dropped = tap.stats.dropped
        assert dropped >= 40
        go.set()
        stats = tap.close()
    assert stats.frames == 50 - dropped
    assert told == ["the disk is slower than the wire; frames are dropped"]
    capture = Capture.open(tmp_path)
    assert capture.dropped == dropped
    assert not capture.complete


def test_a_full_disk_is_reported_and_nothing_written_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    small(tmp_path)
    tap = CaptureWriter(tmp_path, "server", shard_bytes=1, report=told.append)
    real = writer.write_shard

    def full(*_: Any) -> None:
        raise StorageFull("no space left")

    monkeypatch.setattr(writer, "write_shard", full)
    record(tap, request(f"{ID}-8", z(1)))
    while tap.stats.frames == tap.stats.dropped == 0:
        pass
    monkeypatch.setattr(writer, "write_shard", real)
    record(tap, request(f"{ID}-9", z(1)))
    stats = tap.close()
    assert (stats.frames, stats.dropped) == (1, 1)
    assert len(told) == 1
    assert "serving goes on: no space left" in told[0]
    capture = Capture.open(tmp_path)
    assert capture.features()[0] == [f"{ID}/{row}" for row in (0, 1, 2, 9)]
    assert capture.dropped == 1


def test_a_folder_that_became_a_file_costs_frames_and_no_more(tmp_path: Path) -> None:
    told: list[str] = []
    tap = CaptureWriter(tmp_path / "c", "server", report=told.append)
    (tmp_path / "c").rename(tmp_path / "moved")
    (tmp_path / "c").write_text("not a folder")
    record(tap, request(f"{ID}-0", z(1)), reply(f"{ID}-0", z(1)))
    stats = tap.close()
    assert (stats.frames, stats.dropped) == (0, 2)
    frames, index = told
    assert frames.startswith("2 frames are lost, serving goes on: ")
    assert index.startswith("capture.json does not say that the tap was stopped: ")
    CaptureWriter(tmp_path / "moved", "server").close()  # nobody holds it any more


def test_the_kernel_s_own_refusal_is_a_full_disk_too(tmp_path: Path) -> None:
    told: list[str] = []
    tap = CaptureWriter(tmp_path, "server", shard_bytes=1, report=told.append)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, hard))
    try:
        tap.record(0, "up", b"x" * 100_000, method=INFER)
        while tap.stats.frames == tap.stats.dropped == 0:
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    record(tap, request(f"{ID}-0", z(1)))
    tap.close()
    assert "no space left" in told[0]
    assert Capture.open(tmp_path).features()[0] == [f"{ID}/0"]
    assert not list(tmp_path.glob("*.part"))
