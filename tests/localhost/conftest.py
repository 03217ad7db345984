"""Servers on a free port of the loopback interface, stopped again after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from halves import Server

from cloud_server.server import CloudServer


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
