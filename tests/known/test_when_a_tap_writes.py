"""When a tap writes, by a clock and a queue that are told what to say; and what it says itself."""

from __future__ import annotations

import queue
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from splitlab.capture import Capture, CaptureWriter, Frame, writer
from splitlab.errors import BadInput, StorageFull


class Script:
    """A queue that hands over what was written down for it, and notes how long it may wait.

    Each entry is the bytes of a frame, `queue.Empty` or None for the end; before it comes the clock
    goes on by as many seconds.
    """

    def __init__(self, entries: list[tuple[float, Any]]) -> None:
        self.entries = iter(entries)
        self.now = 100.0
        self.waits: list[float | None] = []

    def __call__(self, _size: int) -> Script:
        return self

    def get(self, timeout: float | None = None) -> Frame | None:
        self.waits.append(timeout)
        seconds, entry = next(self.entries, (0.0, None))
        self.now += seconds
        if entry is queue.Empty:
            raise entry
        return entry if entry is None else Frame(0, 0, "up", "", "", 0, len(entry), entry)

    def put(self, _end: None) -> None:
        """The script has an end of its own."""


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """What would have been written: the bytes of each frame, shard by shard."""
    found: list[list[bytes]] = []

    def note(_folder: Path, index: int, _session: int, frames: list[Frame]) -> None:
        assert index == len(found)
        found.append([frame.data for frame in frames])

    monkeypatch.setattr(writer, "write_shard", note)
    return found


def play(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *entries: tuple[float, Any], full: int = 1000
) -> list[float | None]:
    """The waits of a tap that writes at `full` bytes or after 8 seconds."""
    script = Script([*entries])
    clock = SimpleNamespace(monotonic=lambda: script.now, time_ns=lambda: 0)
    monkeypatch.setattr(writer, "time", clock)
    monkeypatch.setattr(writer, "queue", SimpleNamespace(Queue=script, Empty=queue.Empty))
    CaptureWriter(folder, "server", shard_bytes=full, flush_seconds=8).close()
    return script.waits


def test_a_first_frame_is_waited_for_without_end_and_the_next_until_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: list[list[bytes]]
) -> None:
    waits = play(tmp_path, monkeypatch, (5, b"a"), (2, b"b"), (5.5, b"c"), (0, None))
    assert waits == [None, 8, 6, 0.5]
    assert shards == [[b"a", b"b", b"c"]]


def test_after_its_time_a_shard_is_written_and_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: list[list[bytes]]
) -> None:
    empty = (8, queue.Empty)
    waits = play(tmp_path, monkeypatch, (0, b"a"), empty, (50, b"b"), (3, b"c"), (0, None))
    assert waits == [None, 8, None, 8, 5]
    assert shards == [[b"a"], [b"b", b"c"]]


def test_a_frame_that_comes_at_the_very_end_is_the_last_of_its_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: list[list[bytes]]
) -> None:
    waits = play(tmp_path, monkeypatch, (0, b"a"), (8, b"b"), (0, b"c"), (0, None))
    assert waits == [None, 8, None, 8]
    assert shards == [[b"a", b"b"], [b"c"]]


def test_each_shard_is_full_by_its_own_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: list[list[bytes]]
) -> None:
    """Full at four bytes: one below, at and above it, and nothing is carried over."""
    frames = [b"aaa", b"b", b"ccc", b"dd", b"eeee", b"f"]
    waits = play(tmp_path, monkeypatch, *[(0, data) for data in frames], full=4)
    assert waits == [None, 8, None, 8, None, None, 8]
    assert shards == [[b"aaa", b"b"], [b"ccc", b"dd"], [b"eeee"], [b"f"]]


def test_a_tap_that_heard_nothing_writes_no_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shards: list[list[bytes]]
) -> None:
    assert play(tmp_path, monkeypatch, (0, None)) == [None]
    assert shards == []


def test_the_disk_is_handed_frames_as_they_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CaptureWriter(tmp_path, "server").close()
    handed: list[Any] = []
    monkeypatch.setattr(writer, "write_shard", lambda *told: handed.append(told))
    monkeypatch.setattr(writer.time, "time_ns", lambda: 7)
    tap = CaptureWriter(tmp_path, "server")
    tap.record(5, "down", b"abc", method="/m", peer="p", size=9)
    tap.close()
    assert handed == [(tmp_path, 0, 1, [Frame(1, 5, "down", "/m", "p", 7, 9, b"abc")])]


@pytest.mark.parametrize(
    ("error", "words"), [(StorageFull("no space left"), "no space left"), (OSError(), "OSError")]
)
def test_trouble_is_told_by_its_words_or_by_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Three frames are lost in two shards: the first of each trouble is told, all are counted."""
    told: list[str] = []
    tap = CaptureWriter(tmp_path, "server", shard_bytes=2, flush_seconds=60, report=told.append)

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(writer, "write_shard", fail)
    monkeypatch.setattr(writer, "write_index", fail)
    for data in (b"a", b"b", b"cc"):
        tap.record(0, "up", data)
    assert tap.close() == writer.TapStats(dropped=3)
    assert told == [
        f"2 frames are lost, serving goes on: {words}",
        f"capture.json does not say that the tap was stopped: {words}",
    ]
    assert not Capture.open(tmp_path).complete


def test_a_tap_makes_its_folder_and_claims_it_by_the_lock_that_others_look_for(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a" / "b"
    tap = CaptureWriter(folder, "server")
    try:
        assert [path.name for path in folder.glob("*.lock")] == ["tap.lock"]
        with pytest.raises(BadInput, match="another tap writes into it"):
            CaptureWriter(folder, "server")
    finally:
        tap.close()
