"""The strangers of `bench perf hostile` send what they say, and a small server stands them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import torch
from halves import Client, images, wait_until
from prometheus_client import generate_latest

from bench.perf.hostile import peers
from bench.perf.hostile.hostile import counts_of
from bench.perf.hostile.raw_http2 import FRAME_BYTES, PREFACE, AttackedServer, Sent, frame, message
from cloud_server.guard.limits import Limits
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.wire.messages import INFER, SERVICE, STREAM_INFER

Serve = Callable[..., CloudServer]
SECONDS = 120
HOST = "ipv4:127.0.0.2"


@contextlib.contextmanager
def attacked(act: Callable[[AttackedServer], None], port: int) -> Iterator[Sent]:
    """By one thread of one host; ended again."""
    target = AttackedServer("127.0.0.1", port, "127.0.0.2", threading.Event(), Sent())

    def run() -> None:
        while not target.over.is_set():
            with contextlib.suppress(OSError):
                act(target)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield target.sent
    finally:
        target.over.set()
        thread.join()


def counted(server: CloudServer) -> dict[str, Counter[str]]:
    return counts_of(generate_latest(server._telemetry.registry).decode())


def answers(server: CloudServer) -> bool:
    with EdgeClient(Client(), [server.address]) as client:
        return bool(torch.isfinite(client.infer(images(9)).logits).all())


def test_frames_are_those_of_http2_and_methods_those_of_the_protocol() -> None:
    assert frame(4, 1, 0) == bytes.fromhex("000000 04 01 00000000")
    assert frame(0, 1, 5, b"ab") == bytes.fromhex("000002 00 01 00000005 6162")
    assert message(2) == bytes.fromhex("00 00000002 0000")
    assert (peers.INFER, peers.STREAM) == (INFER, STREAM_INFER)
    assert f"/{SERVICE}/ServerLive" == peers.LIVE
    assert Sent(1, 2, 3, 4) + Sent(1, 1, 1, 1) == Sent(2, 3, 4, 5)


def test_slow_loris_holds_calls_and_takes_further_ones(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "SILENT_CALLS", 6)
    server = serve(limits=Limits(patience=0.3))
    with attacked(peers.slow_loris, server.port) as sent:
        wait_until(lambda: server._gate.admission.hosts.get(HOST) == 6)
        wait_until(lambda: sent.calls >= 18)  # patience ended the first
        assert answers(server)
    assert counted(server)["refusals"]["patience"] >= 6


def test_half_open_connections_are_held_and_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "HELD", 3)
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, attacked(peers.half_open, listening.getsockname()[1]) as sent:
        held = [listening.accept()[0] for _ in range(3)]
        half = len(PREFACE) // 2
        for number, connection in enumerate(held):
            connection.settimeout(SECONDS)
            if number % 2 == 0:
                assert connection.recv(99) == PREFACE[:half]
        held[1].close()
        held[1] = listening.accept()[0]
        wait_until(lambda: sent.connections == 4)
        for connection in held:
            connection.close()


def test_tiny_floods_are_answered_and_others_served(serve: Serve) -> None:
    server = serve()
    with attacked(peers.tiny_floods, server.port) as sent:
        wait_until(lambda: counted(server)["calls"]["INVALID_ARGUMENT"] >= 300)
        assert answers(server)
    assert sent.calls >= 300
    assert counted(server)["calls"]["OK"] > 0


def test_garbage_is_random_bytes_or_frames_behind_a_preface(serve: Serve) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        attacked(peers.garbage, listening.getsockname()[1]),
    ):
        begins = []
        for _ in range(4):
            connection = listening.accept()[0]
            begins.append(connection.recv(len(PREFACE), socket.MSG_WAITALL))
            connection.close()
    assert [begin == PREFACE for begin in begins] == [False, True, False, True]
    server = serve()
    with attacked(peers.garbage, server.port) as sent:
        wait_until(lambda: sent.connections >= 20)
        assert answers(server)


def test_what_is_over_the_size_is_refused_before_it_is_read(serve: Serve) -> None:
    """More calls are refused than are open at a time: each that ends makes room for another."""
    server, more = serve(), peers.LARGE_CALLS + 1
    with attacked(peers.over_the_size, server.port) as sent:
        wait_until(lambda: counted(server)["refusals"]["unread"] >= more)
        assert answers(server)
    assert sent.calls >= more
    assert sent.bytes >= more * peers.FRAMES * FRAME_BYTES
    assert server._gate.admission.hosts.get(HOST, 0) <= peers.LARGE_CALLS


def test_all_hosts_attack_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "SILENT_CALLS", 2)
    server, over = serve(), threading.Event()
    every = peers.attack("slow-loris", "127.0.0.1", server.port, over)
    wait_until(lambda: len(server._gate.admission.hosts) == len(peers.SOURCES))
    over.set()
    assert sum(every, Sent()).connections == len(peers.SOURCES)
