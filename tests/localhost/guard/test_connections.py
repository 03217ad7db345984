"""A port takes so many connections, of all hosts; a surplus is closed, and room is given again."""

from __future__ import annotations

import resource
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from deployments import deploy
from halves import Client, images
from typer.testing import CliRunner

from cloud_server.cli import app
from cloud_server.guard import connections
from cloud_server.guard.connections import MOST, OTHER_FILES, room_for
from cloud_server.guard.limits import Limits
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.errors import BadInput, ServerUnavailable

Serve = Callable[..., CloudServer]
SECONDS = 120
HERE = "127.0.0.1"
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


def is_open(connection: socket.socket) -> bool:
    """Whether the server speaks HTTP/2 there, and does not hang up."""
    try:
        connection.sendall(HELLO)
        return bool(connection.recv(1 << 16))
    except ConnectionError:
        return False


def test_a_surplus_is_closed_and_who_comes_later_is_served(serve: Serve) -> None:
    server = serve(limits=Limits(connections=5))
    with ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection((server.host, server.port), SECONDS))
            for _ in range(12)
        ]
        assert sum(map(is_open, made)) == 5
        with (
            EdgeClient(Client(), [server.address], retries=0) as client,
            pytest.raises(ServerUnavailable),
        ):
            client.handshake()
    pause = threading.Event()
    for _ in range(1000):
        try:
            with EdgeClient(Client(), [server.address], retries=0) as client:
                assert torch.isfinite(client.infer(images(9)).logits).all()
            return
        except ServerUnavailable:
            pause.wait(0.01)
    raise AssertionError("nobody was served after the others had left")


def test_the_number_must_fit_into_what_a_process_may_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def files(soft: int) -> None:
        monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (soft, soft))

    files(1024)
    assert room_for(None, HERE) == (1024 - OTHER_FILES) // 2
    assert room_for(1024 - OTHER_FILES, HERE) == 1024 - OTHER_FILES
    with pytest.raises(BadInput, match=r"--max-connections 897: .* 1024 files .* at most 896, or"):
        room_for(1025 - OTHER_FILES, HERE)
    files(1 << 20)
    assert room_for(None, HERE) == MOST
    files(OTHER_FILES + 1)
    assert room_for(None, HERE) == 1
    files(OTHER_FILES)
    for asked in (None, 5):
        with pytest.raises(BadInput, match=r"^this process .* room for none; raise the limit"):
            room_for(asked, HERE)
    files(resource.RLIM_INFINITY)
    assert (room_for(None, HERE), room_for(1 << 30, HERE)) == (MOST, 1 << 30)


def test_a_name_may_stand_for_two_addresses_with_so_many_connections_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (1024, 1024))
    for address in ("0.0.0.0", "[::]", "[fe80::1%eth0]"):
        assert room_for(None, address) == 448
    assert room_for(None, "localhost") == 224
    assert room_for(448, "localhost") == 448
    with pytest.raises(BadInput, match="at most 448 at each of the 2 addresses of 'localhost', or"):
        room_for(449, "localhost")


def test_a_check_says_when_it_does_not_fit(tmp_path: Path) -> None:
    half = str(deploy(tmp_path / "deployment") / "server")
    words = ["--check", "--engine", "plain", "--max-connections"]
    assert CliRunner().invoke(app, [half, *words, "10"]).exit_code == 0
    refused = CliRunner().invoke(app, [half, *words, str(1 << 40)])
    assert refused.exit_code == 2
    assert "--max-connections 1099511627776: this process may have" in refused.output
