"""Roles start from a process that has loaded torch already: a fork takes milliseconds.

A role is still a process of its own with its own memory, and does what `python -m ROLE` does; only
the seconds of imports are saved, twice a split point. The nursery has one thread and computes
nothing, so that a fork of it is as good as a fresh start. Where there can be none, a role starts
afresh. One nursery serves a process, and ends with it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.roles.child import Forked, end_with_parent, libc
from splitlab.thread_share import thread_share

PRELOADED = (
    *("torch", "torch.utils.flop_counter", "grpc", "numpy", "PIL.Image"),
    *("splitlab.models", "splitlab.split", "splitlab.deployment", "splitlab.capture"),
    *("splitlab.wire.channels", "splitlab.wire.certificates", "splitlab.data", "defenses"),
    *("cloud_server.cli", "cloud_server.server", "cloud_server.check"),
    *("edge_client.cli", "edge_client.client", "edge_client.evaluate"),
)
ALSO = ("torchvision", "timm")
"""Loaded too where the asking process has them: its networks are theirs."""
_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36
_MOST_BYTES = 1 << 20
_QUIET = {"GRPC_VERBOSITY": "NONE", "PYTHONUNBUFFERED": "1", **thread_share(1)}


class Nursery:
    """The asking end.

    Raises:
        OSError: there can be none here.
    """

    def __init__(self) -> None:
        library = libc()
        if library is None or library.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError("no child of another process can become one of this")
        os.close(os.pidfd_open(os.getpid()))  # how a child is waited for
        self.ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        names = [*PRELOADED, *(name for name in ALSO if name in sys.modules)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.roles.nursery", str(theirs.fileno()), *names],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_QUIET},
                pass_fds=(theirs.fileno(),),
            )
        self._asking = threading.Lock()

    def start(self, words: Sequence[str], streams: Sequence[int], env: dict[str, str]) -> Forked:
        """`python -m WORDS` as a child of this process.

        Args:
            streams: descriptors of its standard input, output and error.

        Raises:
            OSError: the nursery has ended, or can have no more children.
        """
        asked = {"words": list(words), "env": env, "cwd": str(Path.cwd()), "parent": os.getpid()}
        born, told = os.pipe()
        try:
            with self._asking:
                socket.send_fds(self.ours, [json.dumps(asked).encode()], [*streams, told])
            os.close(told)
            told = -1
            said = os.read(born, 64)  # by the child, once it is one of this process
        finally:
            os.close(born)
            if told >= 0:
                os.close(told)
        if not said:
            raise OSError("the nursery has no child")
        return Forked(int(said))


_lock = threading.Lock()
_of: dict[int, Nursery | None] = {}


def nursery() -> Nursery | None:
    """The one of this process, which begins to load at the first call; None where there is none."""
    with _lock:
        mine = os.getpid()
        if mine not in _of:
            _of.clear()  # a fork's belongs to its parent
            try:
                _of[mine] = Nursery()
            except OSError:
                _of[mine] = None
        return _of[mine]


def serve(channel: socket.socket, names: Sequence[str]) -> list[str]:
    """Load, then fork for whoever asks; returns when nobody can ask any more, and in every child.

    A name that cannot be loaded is left to the role that needs it.

    Returns:
        The words of a child, which are to be run; else none.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # no page is written to only because a collector looked
    atexit.register(gc.unfreeze)  # else libraries report their own objects as lost at a child's end
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MOST_BYTES, 4)
        if not message:
            return []
        alone = len(list(Path("/proc/self/task").iterdir())) == 1
        words = _forked(channel, message, descriptors) if alone else []
        if words:
            return words
        for descriptor in descriptors:
            os.close(descriptor)


def _forked(channel: socket.socket, message: bytes, descriptors: Sequence[int]) -> list[str]:
    """Words in the child, which the asking process inherits from a parent that ends at once."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return []
    if os.fork():
        os._exit(0)
    channel.close()
    asked: dict[str, Any] = json.loads(message)
    while os.getppid() != asked["parent"]:
        if os.getppid() == 1:
            os._exit(1)
        time.sleep(0.0005)
    end_with_parent()
    libc().prctl(_PR_SET_NAME, asked["words"][0].encode(), 0, 0, 0)  # as `ps` and `top` show it
    *streams, told = descriptors
    os.write(told, str(os.getpid()).encode())
    os.close(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    _become(asked)
    words: list[str] = asked["words"]
    return words


def _become(asked: dict[str, Any]) -> None:
    """Take over what a fresh start would have got from its environment."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    sys.path[0] = asked["cwd"]  # as `python -m` has it
    torch = sys.modules.get("torch")
    if torch is not None:
        cores = os.cpu_count() or 1
        torch.set_num_threads(min(cores, int(os.environ.get("OMP_NUM_THREADS", cores))))


if __name__ == "__main__":
    begun = serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    if begun:
        sys.argv = begun
        runpy.run_module(begun[0], run_name="__main__", alter_sys=True)
