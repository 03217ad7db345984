"""The port that Prometheus reads: few threads, whoever connects.

A reader that says or takes nothing for a few seconds is let go. One that drips byte by byte may
stay for longer, until another needs its place.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import sys
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import MetricsHandler

from splitlab.errors import BadInput
from splitlab.wire.channels import is_loopback, split_address

log = logging.getLogger("cloud_server")

READERS = 16
"""At a time; who comes then takes the place of whoever has been there longest."""
SILENT_SECONDS = 5.0
"""For a reader to say something, or to take something; each time, not all together."""


def check_metrics(listen: str, *, off_loopback: bool) -> tuple[str, int]:
    """HOST:PORT -> (host, port), where metrics may be read; opens no port.

    Raises:
        BadInput: not an address, or off loopback.
    """
    host, port = split_address(listen, "--metrics")
    if not off_loopback and not is_loopback(host):
        raise BadInput(
            f"--metrics {host}: plaintext off loopback shows everyone there how much is asked; "
            "accept it with --metrics-open"
        )
    return host, port


class MetricsPort:
    """Answers GET with what the registry holds.

    Args:
        registry: of the metrics.
        listen: HOST:PORT; port 0 picks a free one.
        off_loopback: allow it there; it has neither TLS nor token.

    Raises:
        BadInput: not an address, taken, or off loopback.
    """

    def __init__(self, registry: CollectorRegistry, listen: str, *, off_loopback: bool) -> None:
        host, port = check_metrics(listen, off_loopback=off_loopback)
        try:
            self._server = _Server(host.strip("[]"), port, registry)
        except OSError as error:
            raise BadInput(
                f"--metrics {listen}: cannot bind ({error.strerror}); choose another port"
            ) from error
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Close the port, and let its readers go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each of at most `READERS` connections."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, registry: CollectorRegistry) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, address = found[0][0], found[0][4]
        self._lock = threading.Lock()
        self._places = threading.Semaphore(READERS)
        self._readers: OrderedDict[socket.socket, None] = OrderedDict()
        handler = MetricsHandler.factory(registry)
        handler.timeout = SILENT_SECONDS  # type: ignore[attr-defined]
        super().__init__(address, handler)  # type: ignore[arg-type]

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            with self._lock:
                first = next(iter(self._readers), None)
            if first is not None:
                _hang_up(first)
            self._places.acquire()  # its thread reads the end and leaves
        with self._lock:
            self._readers[request] = None
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread came up that would do it
            self._leave(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._leave(request)

    def _leave(self, request: Any) -> None:
        """Give its place back."""
        with self._lock:
            self._readers.pop(request, None)
        self._places.release()

    def handle_error(self, *_: Any) -> None:
        """A reader that went away is no news, and a fault of the server's own is."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.error("a reader of the metrics got none", exc_info=error)

    def server_close(self) -> None:
        super().server_close()
        with self._lock:
            left = list(self._readers)
        for reader in left:
            _hang_up(reader)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
