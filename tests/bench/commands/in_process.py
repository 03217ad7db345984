"""Servers and clients of a sweep within this process, whose start would be most of a test's time.

They speak gRPC over the loopback interface as the real ones do. Latencies are left out, as only
processes of their own have any; so are the report's figures, which take longer than all the rest.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from checks import Roles, ended_well
from torch import nn

import bench.capture_run
import bench.estimate
import bench.plots
import bench.sweep
import splitlab.split.listing
import splitlab.split.parts
from bench.launch import Gate
from cloud_server.server import CloudServer
from edge_client.cli import app as edge_client
from splitlab.capture import CaptureWriter
from splitlab.deployment import ServerHalf
from splitlab.split.flow import Flow, follow


@contextlib.contextmanager
def serving(half: Path, tap: Path) -> Iterator[str]:
    """HOST:PORT of a server that keeps what passes."""
    writer = CaptureWriter(tap, "server")
    server = CloudServer(ServerHalf.load(half), "127.0.0.1:0", tap=writer, engine="plain")
    server.start()
    try:
        yield f"{server.host}:{server.port}"
    finally:
        server.stop(grace=5, quiet=0)
        writer.close()


ROLES = Roles(serving, lambda words: ended_well(edge_client, words), "plain")


class Here:
    """In place of `ServerProcess`."""

    def __init__(self, half: Path, tap: Path, log: Path, threads: int) -> None:
        del log, threads
        self._stack = contextlib.ExitStack()
        self._address = self._stack.enter_context(serving(half, tap))

    def address(self) -> str:
        return self._address

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def run_edge_client(words: Sequence[str], log: Path, gate: Gate) -> None:
    """In place of the function of that name: in the thread that calls, once the gate is open."""
    del log
    gate.decided.wait()
    if not gate.given_up:
        assert edge_client(list(words), standalone_mode=False) in (None, 0)


def once(work: Callable[[], Any]) -> float:
    """In place of a measurement of `work`, in seconds: it runs, whatever time it takes."""
    work()
    return 0.01


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """For the real ones, until the patch is undone."""
    patch.setattr(bench.capture_run, "ServerProcess", Here)
    patch.setattr(bench.capture_run, "run_edge_client", run_edge_client)
    patch.setattr(bench.estimate, "start_seconds", lambda: 1.0)
    patch.setattr(bench.estimate, "_seconds", once)
    patch.setattr(bench.sweep, "measure_run", lambda *_: None)
    patch.setattr(bench.plots, "sweep_figure", lambda _: "")


def follow_once(patch: pytest.MonkeyPatch) -> None:
    """Follow each network a single time; a command does it for every half that it reads.

    What was found holds no weights. That networks are followed rightly is tested by themselves.
    """
    found: dict[Any, Flow] = {}
    lock = threading.Lock()

    def remembered(net: nn.Module, shape: tuple[int, ...], numbers: bool | None = None) -> Flow:
        sizes = tuple((key, tuple(value.shape)) for key, value in net.state_dict().items())
        key = (repr(net), sizes, shape, numbers)
        with lock:
            if key not in found:
                found[key] = follow(net, shape, numbers)
        return found[key]

    patch.setattr(splitlab.split.parts, "follow", remembered)
    patch.setattr(splitlab.split.listing, "follow", remembered)
