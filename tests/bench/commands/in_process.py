"""Servers and clients of a sweep within this process, whose start would be most of a test's time.

They speak gRPC over the loopback interface as the real ones do. Latencies are left out, as only
processes of their own have any; so are the report's figures, which take longer than all the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from checks import Roles, ended_well

import adversary.estimating.commands
import bench.point.capture
import bench.sweep.plots
import bench.sweep.sweep
import bench.train
from bench.roles.launch import StartGate
from cloud_server.server import CloudServer
from edge_client.cli import app as edge_client
from splitlab.capture import CaptureWriter
from splitlab.deployment import ServerHalf
from splitlab.estimating import Forecast

NOTHING = Forecast(points=0, stages=(), memory_bytes=0)


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


def run_edge_client(words: Sequence[str], log: Path, gate: StartGate) -> None:
    """In place of the function of that name: in the thread that calls, once the gate is open."""
    del log
    gate.decided.wait()
    if not gate.given_up:
        assert edge_client(list(words), standalone_mode=False) in (None, 0)


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """For the real ones, until the patch is undone."""
    patch.setattr(bench.point.capture, "ServerProcess", Here)
    patch.setattr(bench.point.capture, "run_edge_client", run_edge_client)
    # How long it takes has tests of its own.
    patch.setattr(bench.sweep.sweep.Sweep, "estimate", lambda _: NOTHING)
    patch.setattr(bench.train, "deployment_estimate", lambda *_, **__: NOTHING)
    patch.setattr(adversary.estimating.commands, "attack_estimate", lambda *_, **__: NOTHING)
    patch.setattr(bench.sweep.sweep, "measure_run", lambda *_: None)
    patch.setattr(bench.sweep.plots, "sweep_figure", lambda _: "")
