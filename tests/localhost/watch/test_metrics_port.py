"""Metrics are read beside readers that say nothing, and these cost few threads."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPException

import pytest
from prometheus_client import CollectorRegistry, Counter, Metric

from cloud_server.watch import metrics_port
from cloud_server.watch.metrics_port import READERS, MetricsPort
from splitlab.errors import BadInput

SECONDS = 120


@pytest.fixture
def port() -> Iterator[int]:
    registry = CollectorRegistry()
    Counter("things", "some", registry=registry).inc(3)
    with closing(MetricsPort(registry, "127.0.0.1:0", off_loopback=False)) as made:
        yield made.port


def read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as page:
        return str(page.read().decode())


def test_silent_readers_neither_keep_others_out_nor_take_threads(port: int) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        silent = []
        for number in range(5 * READERS):
            connection = socket.create_connection(("127.0.0.1", port), SECONDS)
            silent.append(stack.enter_context(connection))
            if number % 2:
                connection.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert "things_total 3.0" in read(port)
        assert threading.active_count() <= before + READERS
        assert silent[0].recv(1) == b""  # the first made room for those after it


def test_a_silent_reader_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    assert metrics_port.SILENT_SECONDS <= 5
    monkeypatch.setattr(metrics_port, "SILENT_SECONDS", 0.05)
    with (
        closing(MetricsPort(CollectorRegistry(), "127.0.0.1:0", off_loopback=False)) as other,
        socket.create_connection(("127.0.0.1", other.port), SECONDS) as silent,
    ):
        silent.sendall(b"GET /metrics")
        assert silent.recv(1) == b""


def test_readers_for_whom_no_thread_comes_up_take_no_place(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(READERS + 4):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
                assert connection.recv(1) == b""
    assert "things_total 3.0" in read(port)


def no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_reader_that_goes_away_is_no_news(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), SECONDS) as gone:
            gone.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert "things_total 3.0" in read(port)
    assert not capsys.readouterr().err


def test_a_fault_of_the_servers_own_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> Iterator[Metric]:
            raise ZeroDivisionError("a metric broke")

    registry = CollectorRegistry()
    with closing(MetricsPort(registry, "127.0.0.1:0", off_loopback=False)) as made:
        registry.register(Broken())
        with pytest.raises((OSError, HTTPException)):
            read(made.port)
        (record,) = caplog.records
    assert record.exc_info is not None
    assert "a metric broke" in str(record.exc_info[1])


def test_a_port_that_is_taken_and_an_address_of_another_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BadInput, match=r"--metrics .*: cannot bind"):
            MetricsPort(CollectorRegistry(), where, off_loopback=False)
    with pytest.raises(BadInput, match="cannot bind"):
        MetricsPort(CollectorRegistry(), "192.0.2.1:0", off_loopback=True)
