"""A connection without a call is closed, and its client does not mind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
import torch
from halves import Client, images

from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.wire import channels

SECONDS = 120


def test_an_idle_connection_is_closed_and_its_client_opens_another(
    serve: Callable[..., CloudServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert channels.IDLE_MS <= 30_000
    monkeypatch.setattr(channels, "IDLE_MS", 200)
    server = serve()
    address = (server.host, server.port)
    with (
        EdgeClient(Client(), [server.address]) as client,
        socket.create_connection(address, timeout=SECONDS) as idle,
    ):
        client.handshake()
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        while idle.recv(1 << 16):
            pass
        threading.Event().wait(0.5)  # the client's connection is gone too
        assert torch.isfinite(client.infer(images(9)).logits).all()
        streams = server._gate.admission.open[0]
        assert streams
        threading.Event().wait(0.5)  # a stream that is open is a call
        assert server._gate.admission.open[0] == streams
        assert torch.isfinite(client.infer(images(9)).logits).all()
