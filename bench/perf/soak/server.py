"""A server process under `bench soak`, and the memory of a process over its life."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.roles.launch import start, tail_of
from splitlab.capture.shards import read_shard
from splitlab.contracts.own_code import import_words
from splitlab.errors import Corrupt, SplitLabError

WARM_ANSWERS = 50
"""Requests after which a process has what it keeps: threads, buffers, its allocator's arenas."""
SAMPLE_SECONDS = 10.0
LONG_SECONDS = 300.0
"""A process that was watched for so long is held to `GROWTH_MIB`."""
GROWTH_MIB = 32.0
"""Arenas and connections' buffers settle within it; a KiB a request, over minutes, does not."""
ENDS = 6
"""Samples in a row whose medians are compared."""
STOP_SECONDS = 60.0
SELF = "self"


@dataclass
class ResidentMemory:
    """Resident memory of one process, from `WARM_ANSWERS` answers on; of this one without what the
    garbage collector would free.

    Args:
        process: its id, or `SELF`.
        answers: how many answers there were, of all servers, when it started.
        samples: (seconds of the run, MiB).
    """

    process: str
    answers: int = 0
    samples: list[tuple[float, float]] = field(default_factory=list)

    def sample(self, seconds: float, answers: int, *, last: bool = False) -> None:
        """One sample, if it is time for one.

        Args:
            seconds: since the run began.
            answers: that came since then.
            last: whether none will follow, so that it is time now.
        """
        due = not self.samples or seconds - self.samples[-1][0] >= SAMPLE_SECONDS or last
        if due and answers - self.answers >= WARM_ANSWERS:
            if self.process == SELF:
                gc.collect()
            mib = resident_mib(self.process)
            if mib is not None:
                self.samples.append((seconds, mib))

    @property
    def growth(self) -> float | None:
        """MiB from where it settled to the last samples; None where it was not watched long enough.

        What a process holds only while it starts is no room to grow into later.
        """
        if not self.samples or self.samples[-1][0] - self.samples[0][0] < LONG_SECONDS:
            return None
        mib = [value for _, value in self.samples]
        return statistics.median(mib[-ENDS:]) - settled(mib)

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        growth = self.growth
        return {
            "seconds": [round(at, 1) for at, _ in self.samples],
            "mib": [round(value, 1) for _, value in self.samples],
            "growth_mib": None if growth is None else round(growth, 1) + 0.0,
        }


def settled(mib: Sequence[float]) -> float:
    """The least median of `ENDS` samples in a row, among the first half of the samples."""
    half = mib[: max(ENDS, len(mib) // 2)]
    return min(
        statistics.median(half[at : at + ENDS]) for at in range(max(1, len(half) - ENDS + 1))
    )


def resident_mib(process: str) -> float | None:
    """Resident memory; None where the system does not tell, or the process is gone."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    found = [line for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(found[0].split()[1]) / 1024 if found else None


@dataclass(frozen=True)
class Tap:
    """What became of the frames that passed one server.

    Args:
        frames: that were kept.
        dropped: that had no room, as the server said; None of one that was killed.
        disk_full: whether the disk was at its end while it lived.
    """

    frames: int
    dropped: int | None
    disk_full: bool


class Server:
    """A `cloud-server` process.

    Args:
        deployment: folder with server/.
        engine: that runs the bodies.
        disk: a folder for its tap, or None for no tap. It is emptied first, as a server does not
            start with a tap that it cannot write; what the one before kept is known by then.
        log: file that its standard error goes to, behind what is there.
        port: 0 for any.
        answers: see `ResidentMemory`.

    Raises:
        SplitLabError: it ended before it listened; the message ends with its words.
    """

    def __init__(
        self,
        deployment: Path,
        engine: str,
        disk: Path | None,
        log: Path,
        port: int = 0,
        answers: int = 0,
    ) -> None:
        words = ["--listen", f"127.0.0.1:{port}", "--max-peer-calls", "512", "--engine", engine]
        if disk is not None:
            for old in disk.glob("*"):
                old.unlink()
            words += ["--tap", str(disk)]
        self._disk, self._log = disk, log
        with log.open("ab") as errors:
            self._from = errors.tell()
            self._process = start(
                ["cloud_server", str(deployment / "server"), *import_words(), *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                fresh=True,  # its memory is watched
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            raise SplitLabError(f"cloud-server ended before it listened: {tail_of(log)}")
        told = json.loads(line)
        self.port, self.engine = int(told["port"]), str(told["engine"])
        self.tap: Tap | None = None
        self.memory = ResidentMemory(str(self._process.pid), answers)

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def kill(self) -> bool:
        """SIGKILL; whether it had run until then. What its tap kept is on the disk."""
        alive = self.alive()
        self._process.kill()
        self._process.communicate()
        if self._disk is not None:
            self.tap = Tap(_kept(self._disk), None, self._disk_was_full())
        return alive

    def stop(self) -> bool:
        """SIGTERM; whether it had run until then, and ended in order. Its tap is known then."""
        alive = self.alive()
        self._process.send_signal(signal.SIGTERM)
        try:
            said, _ = self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        told = json.loads(said.splitlines()[-1]).get("tap") if said else None
        if told is not None:
            self.tap = Tap(told["frames"], told["dropped"], self._disk_was_full())
        return alive and self._process.returncode == 0

    def _disk_was_full(self) -> bool:
        """As its tap says once, in the words of `StorageFull`."""
        with self._log.open("rb") as said:
            said.seek(self._from)
            return b"no space left" in said.read()


def _kept(disk: Path) -> int:
    """Frames in the shards that are whole."""
    count = 0
    for shard in disk.glob("shard-*.safetensors"):
        with contextlib.suppress(Corrupt):
            count += sum(1 for _ in read_shard(shard))
    return count
