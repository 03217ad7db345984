"""Children of this process: looked after, and never left behind.

`python -m bench.roles.child PARENT ROLE WORDS` is `python -m ROLE WORDS` that ends with its parent.
What has to be done in a child between fork and exec is done after exec instead: a parent in which
gRPC is at work must not fork, and a child of it would write gRPC's words into a role's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from typing import IO, Any

_PR_SET_PDEATHSIG = 1


@functools.cache
def libc() -> Any:
    """The C library, on Linux; else None."""
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent() -> None:
    """Have the kernel send SIGTERM when the parent ends, also after `kill -9`."""
    library = libc()
    if library is not None:
        library.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Reading(threading.Thread):
    """Reads a pipe to its end, so that its writer never waits."""

    def __init__(self, stream: IO[Any]) -> None:
        super().__init__(daemon=True)
        self._stream, self._read = stream, None
        self.start()

    def run(self) -> None:
        self._read = self._stream.read()

    def result(self) -> Any:
        self.join()
        self._stream.close()
        return self._read


class Forked:
    """A child that was forked elsewhere, with what is used of `subprocess.Popen`.

    Args:
        pid: a child of this process.
        stdin, stdout, stderr: this side's ends of its pipes.
    """

    def __init__(
        self,
        pid: int,
        stdin: IO[Any] | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self._end = os.pidfd_open(pid)
        self._reaping = threading.Lock()
        self._reads: dict[str, _Reading] | None = None

    def poll(self) -> int | None:
        """The exit code, below zero for a signal; None while it runs."""
        with self._reaping:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
                    os.close(self._end)
            return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code.

        Raises:
            TimeoutExpired: it runs on after so many seconds.
        """
        if self.poll() is None:
            waiting = select.poll()
            waiting.register(self._end, select.POLLIN)
            waiting.poll(None if timeout is None else 1000 * timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, given: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        """Write to it, read to the end of both of its streams, wait; as `Popen.communicate`.

        Raises:
            TimeoutExpired: it runs on after so many seconds; asked again, nothing is lost.
        """
        if self._reads is None:
            self._reads = {
                name: _Reading(stream)
                for name, stream in (("out", self.stdout), ("err", self.stderr))
                if stream is not None
            }
            if self.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    if given is not None:
                        self.stdin.write(given)
                    self.stdin.close()
        self.wait(timeout)
        found = {name: reading.result() for name, reading in self._reads.items()}
        return found.get("out"), found.get("err")

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.poll() is None:
            signal.pidfd_send_signal(self._end, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what was still to be written
                    stream.close()
        self.wait()


def _become(parent: int, words: list[str]) -> None:
    """The role, unless the parent has ended already."""
    end_with_parent()
    if os.getppid() != parent:
        return
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
