"""The writing side of a tap: a bounded queue and a thread, so that listening never slows serving.

What does not fit in the queue, and what the disk does not take, is dropped, counted and reported;
serving goes on and nothing that was written before is damaged.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from splitlab.capture.index import Index, Session, index_path, read_index, write_index
from splitlab.capture.shards import Frame, FrameDirection, Vantage, write_shard
from splitlab.errors import BadInput
from splitlab.storage import require_writable


@dataclass
class TapStats:
    """What became of the frames that passed the tap."""

    frames: int = 0
    dropped: int = 0
    shards: int = 0


def to_stderr(words: str) -> None:
    """The default way to report: one line on standard error."""
    print(f"warning: tap: {words}", file=sys.stderr, flush=True)


class CaptureWriter:
    """Keeps frames in `folder`; a folder with a capture of the same vantage is continued.

    Args:
        folder: where to write; made if absent.
        vantage: "server" (its own tap), "relay" (gRPC messages) or "tcp" (sizes and times only).
        max_queue: frames that may wait for the disk.
        max_bytes: bytes that may wait for the disk.
        shard_bytes: a shard is written when this much has come together,
        flush_seconds: or when its first frame has waited this long; a kill loses no more than that.
        report: told once of every kind of trouble, in a sentence.

    Raises:
        Corrupt: the folder holds a damaged capture.
        BadInput: the folder holds a capture of another vantage, cannot be written, or another tap
            writes into it.
        StorageFull: not even `capture.json` could be written.
    """

    def __init__(
        self,
        folder: Path,
        vantage: Vantage,
        *,
        max_queue: int = 4096,
        max_bytes: int = 256 << 20,
        shard_bytes: int = 16 << 20,
        flush_seconds: float = 2.0,
        report: Callable[[str], None] = to_stderr,
    ) -> None:
        self.folder, self.vantage = folder, vantage
        self._shard_bytes, self._flush_seconds = shard_bytes, flush_seconds
        self._max_bytes, self._report = max_bytes, report
        self._made = [one for one in (folder, *folder.parents) if not one.exists()]
        self._lock_file = _claim(folder)
        try:
            self._sessions = self._begin()
        except Exception:
            self._lock_file.close()
            raise
        self._session = len(self._sessions) - 1
        self._next_shard = self._sessions[-1].first_shard
        self._queue: queue.Queue[Frame | None] = queue.Queue(max_queue)
        self._lock = threading.Lock()
        self._waiting_bytes = 0
        self._closed = False
        self._told: set[str] = set()
        self._calls = itertools.count()
        self._stats = TapStats()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> TapStats:
        """Frames kept and dropped and shards written so far."""
        with self._lock:
            return TapStats(**asdict(self._stats))

    def new_call(self) -> int:
        """A number that the frames of one call or connection share."""
        return next(self._calls)

    def record(
        self,
        call: int,
        direction: FrameDirection,
        data: bytes,
        *,
        method: str = "",
        peer: str = "",
        size: int | None = None,
    ) -> None:
        """Hand over one frame. Returns at once, whatever the disk does.

        Args:
            size: bytes as they travelled, where `data` itself is not kept; default its length.
        """
        length = len(data) if size is None else size
        with self._lock:  # also around the clock, so that frames are queued in order of arrival
            frame = Frame(
                self._session, call, direction, method, peer, time.time_ns(), length, bytes(data)
            )
            fits = not self._closed and self._waiting_bytes + len(data) <= self._max_bytes
            if fits:
                try:
                    self._queue.put_nowait(frame)
                    self._waiting_bytes += len(data)
                except queue.Full:
                    fits = False
            if not fits:
                self._stats.dropped += 1
        if not fits:
            self._tell("queue", "the disk is slower than the wire; frames are dropped")

    def close(self) -> TapStats:
        """Write what waits and say in `capture.json` that the tap was stopped in order.

        What cannot be written by then is reported, and the counts are told all the same.
        """
        self._stop(self._end)
        return self.stats

    def discard(self) -> None:
        """Close, and take this session back: whoever could not listen has recorded nothing."""
        self._stop(self._undo)

    def _stop(self, last: Callable[[], None]) -> None:
        with self._lock:
            already, self._closed = self._closed, True
        if not already:
            try:
                self._queue.put(None)
                self._thread.join()
                last()
            finally:
                self._lock_file.close()

    def _begin(self) -> tuple[Session, ...]:
        """The sessions in `capture.json`, this one last."""
        earlier = _earlier(self.folder, self.vantage)
        first = len(list(self.folder.glob("shard-*.safetensors")))
        sessions = (*earlier, Session(first_shard=first, started_ns=time.time_ns()))
        write_index(self.folder, Index(vantage=self.vantage, sessions=sessions))
        return sessions

    def _end(self) -> None:
        """Note in `capture.json` that this session was stopped in order, and its counts."""
        *earlier, mine = self._sessions
        ended = mine.model_copy(update={"closed": True, **asdict(self._stats)})
        try:
            write_index(self.folder, Index(vantage=self.vantage, sessions=(*earlier, ended)))
        except Exception as error:  # whatever it is, the server behind the tap stops in order
            why = str(error) or type(error).__name__
            self._tell("index", f"capture.json does not say that the tap was stopped: {why}")

    def _undo(self) -> None:
        """Leave what was there before this session; a folder that it made goes."""
        if earlier := self._sessions[:-1]:
            write_index(self.folder, Index(vantage=self.vantage, sessions=earlier))
            return
        for path in (index_path(self.folder), Path(self._lock_file.name)):
            path.unlink(missing_ok=True)
        for folder in self._made:
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _run(self) -> None:
        going = True
        while going and (first := self._queue.get()) is not None:
            frames, going = self._gathered(first)
            self._flush(frames)

    def _gathered(self, first: Frame) -> tuple[list[Frame], bool]:
        """What comes with a frame until it is time to write, and whether more may come."""
        frames, waiting = [first], len(first.data)
        deadline = time.monotonic() + self._flush_seconds
        while waiting < self._shard_bytes and (left := deadline - time.monotonic()) > 0:
            try:
                frame = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if frame is None:
                return frames, False
            frames.append(frame)
            waiting += len(frame.data)
        return frames, True

    def _flush(self, frames: list[Frame]) -> None:
        trouble = ""
        try:
            write_shard(self.folder, self._next_shard, self._session, frames)
        except Exception as error:  # whatever it is, the thread lives and serving goes on
            trouble = str(error) or type(error).__name__
        with self._lock:
            self._waiting_bytes -= sum(len(frame.data) for frame in frames)
            if trouble:
                self._stats.dropped += len(frames)
            else:
                self._stats.frames += len(frames)
                self._stats.shards += 1
                self._next_shard += 1
        if trouble:
            self._tell("disk", f"{len(frames)} frames are lost, serving goes on: {trouble}")

    def _tell(self, kind: str, words: str) -> None:
        """Report the first trouble of each kind; the totals stand in the statistics."""
        with self._lock:
            first = kind not in self._told
            self._told.add(kind)
        if first:
            self._report(words)


def check_tap(folder: Path, vantage: Vantage) -> None:
    """A capture of this vantage may begin there, or go on; nothing is left behind.

    Raises:
        Corrupt, BadInput, StorageFull: as of `CaptureWriter`; another tap there is not looked for.
    """
    _earlier(folder, vantage)
    require_writable(folder)


def _earlier(folder: Path, vantage: Vantage) -> tuple[Session, ...]:
    """Sessions of the capture that is there already."""
    if not index_path(folder).exists():
        return ()
    index = read_index(folder)
    if index.vantage != vantage:
        raise BadInput(
            f"{folder} holds a capture of vantage {index.vantage!r}, "
            f"this one is {vantage!r}; choose another folder"
        )
    return index.sessions


def _claim(folder: Path) -> IO[bytes]:
    """Lock the folder for this process; the kernel lets go when it ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "tap.lock").open("wb")
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadInput(f"{folder}: another tap writes into it; choose another folder") from error
    return file
