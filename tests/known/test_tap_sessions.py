"""What a tap keeps of its sessions, and when it writes."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from shards_by_hand import FRAMES

from splitlab.capture import Capture, CaptureWriter, check_tap, writer
from splitlab.capture.index import Index, Session, read_index, write_index
from splitlab.capture.shards import REMEDY, write_shard
from splitlab.capture.writer import to_stderr
from splitlab.errors import BadInput, Corrupt


def test_a_tap_notes_its_sessions_and_their_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times are those of a clock that counts: a start, its frames, the next start."""
    monkeypatch.setattr(writer.time, "time_ns", itertools.count(1000).__next__)
    for turn in range(2):
        tap = CaptureWriter(tmp_path, "server", shard_bytes=1)
        for number in range(turn + 2):
            tap.record(tap.new_call(), "up", b"x" * (number + 1), method="/m", peer="p")
        open_now = read_index(tmp_path).sessions[-1]
        assert not open_now.closed
        stats = tap.close()
        assert (stats.frames, stats.dropped) == (turn + 2, 0)
        assert tap.close() == stats
    first, second = read_index(tmp_path).sessions
    assert (first.closed, first.frames, first.dropped, first.first_shard) == (True, 2, 0, 0)
    assert (second.closed, second.frames, second.first_shard) == (True, 3, first.shards)
    assert len(list(tmp_path.glob("shard-*"))) == first.shards + second.shards
    assert (first.started_ns, second.started_ns) == (1000, 1003)
    frames = list(Capture.open(tmp_path).frames())
    assert [frame.session for frame in frames] == [0, 0, 1, 1, 1]
    assert [frame.call for frame in frames] == [0, 1, 0, 1, 2]
    assert [frame.size for frame in frames] == [1, 2, 1, 2, 3]
    assert {(frame.method, frame.peer, frame.direction) for frame in frames} == {("/m", "p", "up")}
    assert [frame.arrival_ns for frame in frames] == [1001, 1002, 1004, 1005, 1006]


def test_frames_after_the_end_are_dropped(tmp_path: Path) -> None:
    told: list[str] = []
    tap = CaptureWriter(tmp_path, "server", report=told.append)
    tap.close()
    tap.record(0, "up", b"late")
    assert (tap.stats.frames, tap.stats.dropped) == (0, 1)
    assert len(told) == 1


def test_defaults_of_a_frame(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "tcp")
    tap.record(7, "down", b"abc")
    tap.record(7, "up", b"", size=0)
    tap.close()
    one, other = Capture.open(tmp_path).frames()
    assert (one.call, one.method, one.peer, one.size) == (7, "", "", 3)
    assert (one.direction, one.data, other.size) == ("down", b"abc", 0)


def test_small_frames_come_together_in_one_shard(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server")
    for _ in range(5):
        tap.record(0, "up", b"x")
    assert tap.close().shards == 1


def test_a_shard_is_full_at_its_bytes(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server", shard_bytes=4, flush_seconds=60)
    for _ in range(5):
        tap.record(0, "up", b"xx")
    tap.close()
    lengths = [load_file(path)["length"].tolist() for path in sorted(tmp_path.glob("shard-*"))]
    assert lengths == [[2, 2], [2, 2], [2]]


def test_what_waited_long_enough_is_written_without_more_coming(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server", flush_seconds=0.01)
    tap.record(0, "up", b"x")
    until = time.monotonic() + 30
    while tap.stats.shards < 1 and time.monotonic() < until:
        time.sleep(0.01)
    assert tap.stats.shards == 1
    tap.close()


def test_one_frame_may_be_as_large_as_all_that_may_wait(tmp_path: Path) -> None:
    tap = CaptureWriter(tmp_path, "server", max_bytes=10, report=lambda _: None)
    tap.record(0, "up", b"x" * 11)
    tap.record(0, "up", b"x" * 10)
    stats = tap.close()
    assert (stats.frames, stats.dropped) == (1, 1)


def test_written_bytes_no_longer_wait(tmp_path: Path) -> None:
    """Ten times what may wait passes, if each is written before the next comes."""
    tap = CaptureWriter(tmp_path, "server", max_bytes=10, shard_bytes=1)
    for number in range(10):
        tap.record(0, "up", b"x" * 10)
        until = time.monotonic() + 30
        while tap.stats.frames <= number and time.monotonic() < until:
            assert tap.stats.dropped == 0
            time.sleep(0.001)
    assert tap.close().dropped == 0


def test_a_tap_can_be_asked_before_it_begins(tmp_path: Path) -> None:
    check_tap(tmp_path / "new", "server")
    assert not (tmp_path / "new").exists()
    CaptureWriter(tmp_path, "server").close()
    there = sorted(path.name for path in tmp_path.iterdir())
    check_tap(tmp_path, "server")
    assert sorted(path.name for path in tmp_path.iterdir()) == there
    with pytest.raises(BadInput, match="vantage 'server', this one is 'relay'"):
        check_tap(tmp_path, "relay")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput):
        check_tap(tmp_path / "file" / "x", "server")
    (tmp_path / "capture.json").write_text("{")
    with pytest.raises(Corrupt):
        check_tap(tmp_path, "server")


def test_trouble_goes_to_standard_error_unless_said_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to_stderr("words")
    assert capsys.readouterr() == ("", "warning: tap: words\n")
    tap = CaptureWriter(tmp_path, "server", max_bytes=1)
    tap.record(0, "up", b"xx")
    tap.close()
    assert capsys.readouterr().err.startswith("warning: tap: the disk is slower")


def test_a_failed_start_lets_go_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "capture.json").write_text("{")
    with pytest.raises(Corrupt):
        CaptureWriter(tmp_path, "server")
    (tmp_path / "capture.json").unlink()
    CaptureWriter(tmp_path, "server").close()


def test_what_a_capture_says_of_itself(tmp_path: Path) -> None:
    sessions = [
        Session(first_shard=0, started_ns=0, closed=True),
        Session(first_shard=0, started_ns=0, closed=True, dropped=2),
    ]
    for count, dropped, complete in ((1, 0, True), (2, 2, False)):
        write_index(tmp_path, Index(vantage="relay", sessions=tuple(sessions[:count])))
        found = Capture.open(tmp_path)
        assert (found.dropped, found.complete, found.vantage) == (dropped, complete, "relay")
        assert found.folder == tmp_path
    write_index(tmp_path, Index(vantage="relay", sessions=(Session(first_shard=0, started_ns=0),)))
    assert not Capture.open(tmp_path).complete


def test_a_closed_session_has_the_frames_that_it_counted(tmp_path: Path) -> None:
    write_shard(tmp_path, 0, 0, FRAMES[:2])
    write_shard(tmp_path, 1, 1, FRAMES[2:])

    def told(first: int, second: int, closed: bool = True) -> None:
        sessions = (
            Session(first_shard=0, started_ns=0, closed=closed, frames=first),
            Session(first_shard=1, started_ns=0, closed=True, frames=second),
        )
        write_index(tmp_path, Index(vantage="server", sessions=sessions))

    told(2, 1)
    assert len(list(Capture.open(tmp_path).frames())) == 3
    told(0, 1, closed=False)
    assert len(list(Capture.open(tmp_path).frames())) == 3
    for first, second, words in ((3, 1, "3 frames were written, 2 are"), (2, 2, "2 .*, 1 are")):
        told(first, second)
        with pytest.raises(Corrupt, match=words) as raised:
            Capture.open(tmp_path)
        assert raised.value.path == tmp_path
        assert str(raised.value).endswith(REMEDY)
