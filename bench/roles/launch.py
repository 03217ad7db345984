"""Start the two roles as real processes on localhost, with a thread share each.

Two torch processes on few cores fight through spinning OpenMP threads, so every child spins little
and gets its share of threads before torch is imported (`splitlab.thread_share`). A child never
outlives the bench: on Linux the kernel ends it with its parent, also after `kill -9`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from bench.roles.child import Forked
from bench.roles.nursery import Nursery, nursery
from splitlab.contracts.own_code import import_words
from splitlab.errors import ServerUnavailable, SplitLabError
from splitlab.thread_share import thread_share


def thread_environment(threads: int) -> dict[str, str]:
    """The environment of a child that may use `threads` threads."""
    return {**os.environ, **thread_share(threads), "PYTHONUNBUFFERED": "1"}


def command(role: str, *words: str) -> list[str]:
    """The command line of a role (`cloud_server`, `edge_client`, `adversary`) in this Python."""
    return [sys.executable, "-m", role, *words]


def start(
    words: Sequence[str],
    *,
    stdin: int | None = None,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
    threads: int = 1,
    text: bool = False,
    fresh: bool = False,
) -> subprocess.Popen[Any] | Forked:
    """`python -m WORDS` as a child that ends with this process; from the nursery where it can be.

    Args:
        stdin: `subprocess.PIPE` or None for this process's own.
        stdout, stderr: an open file, `subprocess.PIPE`, or for the latter `subprocess.STDOUT`.
        threads: its share.
        text: whether its pipes are of text.
        fresh: no fork, as where its start or its memory is what is measured.
    """
    environment = thread_environment(threads)
    born = None if fresh else nursery()
    if born is not None:
        with contextlib.suppress(OSError):
            return _forked(born, words, stdin, stdout, stderr, environment, text)
    return subprocess.Popen(
        [sys.executable, "-m", "bench.roles.child", str(os.getpid()), *words],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        text=text,
    )


def _forked(
    born: Nursery,
    words: Sequence[str],
    stdin: int | None,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
    environment: dict[str, str],
    text: bool,
) -> Forked:
    """
    Raises:
        OSError: the nursery has no child.
    """
    theirs: list[int] = []
    ours: dict[str, IO[Any]] = {}
    mode = "" if text else "b"
    with contextlib.ExitStack() as failing, contextlib.ExitStack() as done:

        def pipe(name: str, writes: bool) -> int:
            read, write = os.pipe()
            mine, other = (write, read) if writes else (read, write)
            ours[name] = os.fdopen(mine, ("w" if writes else "r") + mode)
            failing.callback(ours[name].close)
            done.callback(os.close, other)
            return other

        for name, given, own in (("stdin", stdin, 0), ("stdout", stdout, 1), ("stderr", stderr, 2)):
            if given == subprocess.STDOUT:
                theirs.append(theirs[1])
            elif given == subprocess.PIPE:
                theirs.append(pipe(name, writes=name == "stdin"))
            else:
                theirs.append(own if given is None or isinstance(given, int) else given.fileno())
        child = born.start(words, theirs, environment)
        failing.pop_all()
    child.stdin, child.stdout, child.stderr = (ours.get(n) for n in ("stdin", "stdout", "stderr"))
    return child


class ServerProcess:
    """A `cloud-server` process on a free port of the loopback interface.

    Use as a context manager; leaving it sends SIGTERM and waits, so that in-flight requests and
    the tap are finished.

    What this process may import of a user's own, it may too.

    Args:
        more: further words of its command line.
        fresh: as in `start`.
    """

    def __init__(
        self,
        half: Path,
        tap: Path | None,
        log: Path,
        threads: int = 1,
        more: Sequence[str] = (),
        fresh: bool = False,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self._errors: IO[bytes] = log.open("wb")
        self._reader: threading.Thread | None = None
        self.said: dict[str, Any] = {}
        words = ["cloud_server", str(half), *import_words(), "--listen", "127.0.0.1:0"]
        if tap is not None:
            words += ["--tap", str(tap)]
        words += more
        self._process = start(
            words, stdout=subprocess.PIPE, stderr=self._errors, threads=threads, fresh=fresh
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def address(self) -> str:
        """HOST:PORT, once the server says that it listens.

        Raises:
            ServerUnavailable: it ended before it listened; the message ends with its words.
        """
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == "listening":
                self.said = event
                self._drain()
                return f"{event['host']}:{event['port']}"
        self._process.wait()
        raise ServerUnavailable(f"cloud-server ended before it listened: {tail_of(self.log)}")

    def _drain(self) -> None:
        """Keep reading standard output, so that a talkative server never blocks on a full pipe."""
        pipe = self._process.stdout
        assert pipe is not None
        self._reader = threading.Thread(target=lambda: [None for _ in pipe], daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """SIGTERM, then wait; a server that does not end within 30 s is killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._reader is not None:
            self._reader.join()  # to the end of the pipe
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> ServerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class StartGate:
    """Opened or given up, once, by another thread than the one that waits for it."""

    def __init__(self) -> None:
        self.decided = threading.Event()
        self.given_up = False

    def open(self) -> None:
        self.decided.set()

    def give_up(self) -> None:
        """Too late once it is open."""
        self.given_up = not self.decided.is_set()
        self.decided.set()


def run_edge_client(
    words: Sequence[str], log: Path, gate: StartGate, threads: int = 1, *, fresh: bool = False
) -> None:
    """Run one `edge-client HALF ... evaluate --hold` to its end; it may import what this may.

    It starts at once, and sends when the gate opens: what it measures is then not disturbed by
    what this process does until then. A gate that is given up ends it.

    Raises:
        SplitLabError: it failed; the message ends with its words.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as output,
        start(
            ["edge_client", words[0], *import_words(), *words[1:], "--hold"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            threads=threads,
            fresh=fresh,
        ) as process,
    ):
        while not gate.decided.wait(timeout=0.2) and process.poll() is None:
            pass
        if gate.given_up:
            process.terminate()
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
        process.wait()
    if process.returncode != 0:
        raise SplitLabError(f"edge-client ended with {process.returncode}: {tail_of(log)}")


def tail_of(log: Path, lines: int = 4) -> str:
    """The last lines of a log on one line, for an error message."""
    text = log.read_text(errors="replace").strip().splitlines()[-lines:]
    return " | ".join(text) or "it said nothing"
