"""Servers on a free port of the loopback interface, stopped again after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from flaky import Flaky
from halves import Server

from cloud_server.server import CloudServer
from edge_client import transport


@pytest.fixture
def serve() -> Iterator[Callable[..., CloudServer]]:
    """Start a server of a half; keyword arguments go to `CloudServer`."""
    running: list[CloudServer] = []

    def start(half: Server | None = None, **options: Any) -> CloudServer:
        options = {"listen": "127.0.0.1:0", "engine": "plain", **options}
        server = CloudServer(half or Server(), **options)
        running.append(server)
        server.start()
        return server

    yield start
    for server in running:
        server.stop(grace=5, quiet=0)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Flaky]]:
    """Start a server that fails as it is told, and retry it without a pause."""
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    made: list[Flaky] = []

    def make(
        fail: Callable[[int], grpc.StatusCode | None] = lambda _: None, half: Server | None = None
    ) -> Flaky:
        made.append(Flaky(fail, half))
        return made[-1]

    yield make
    for server in made:
        server.stop()
