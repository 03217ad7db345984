"""A TCP relay that keeps sizes and times only: what is left to an eavesdropper under TLS."""

from __future__ import annotations

import contextlib
import socket
import threading

from splitlab.capture import CaptureWriter, FrameDirection
from splitlab.errors import BadInput
from splitlab.wire.channels import split_address

CHUNK_BYTES = 64 << 10
CONNECT_SECONDS = 10.0


class TcpRelay:
    """Passes connections on to `upstream`, byte by byte.

    Args:
        listen: HOST:PORT; port 0 picks a free one.
        upstream: HOST:PORT of the server.
        tap: is told direction, size and time of every chunk; its owner closes it after `stop`.
            None tells nobody.

    Raises:
        BadInput: the port is taken, or an address is none.
    """

    def __init__(self, listen: str, upstream: str, *, tap: CaptureWriter | None) -> None:
        self._tap = tap
        host, self._upstream_port = split_address(upstream, "--upstream")
        self._upstream_host = host.strip("[]")
        self.host, port = split_address(listen, "--listen")
        bare = self.host.strip("[]")
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        try:
            self._listener = socket.create_server((bare, port), family=family)
        except OSError as error:
            raise BadInput(
                f"--listen {listen}: cannot bind ({error.strerror}); the port is taken or the "
                "address is not this machine's; choose another, port 0 picks a free one"
            ) from error
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._refuses = False

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Take connections."""
        self._spawn(self._accept)

    def stop(self) -> None:
        """Close every connection and wait for the threads."""
        self._hang_up(self._listener)
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    def _hang_up(self, *others: socket.socket) -> None:
        """Drop every connection, and refuse new ones."""
        with self._lock:
            self._refuses = True
            sockets = [*others, *self._open]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, peer = self._listener.accept()
            except OSError:
                return  # the listener was shut down
            name = f"tcp:{peer[0]}:{peer[1]}"
            self._spawn(lambda client=client, name=name: self._serve(client, name))

    def _serve(self, client: socket.socket, peer: str) -> None:
        with client:
            try:
                server = socket.create_connection(
                    (self._upstream_host, self._upstream_port), timeout=CONNECT_SECONDS
                )
            except OSError:
                return  # the client sees a closed connection, as it would without the relay
            with server:
                server.settimeout(None)
                if not self._remember(client, server):
                    return
                call = self._tap.new_call() if self._tap is not None else 0
                upwards = threading.Thread(
                    target=self._pump, args=(client, server, call, "up", peer)
                )
                upwards.start()
                self._pump(server, client, call, "down", peer)
                upwards.join()
                with self._lock:
                    self._open -= {client, server}

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        call: int,
        direction: FrameDirection,
        peer: str,
    ) -> None:
        """Copy one direction until its end, then pass the end on."""
        try:
            while chunk := source.recv(CHUNK_BYTES):
                if self._tap is not None:
                    self._tap.record(call, direction, b"", peer=peer, size=len(chunk))
                target.sendall(chunk)
        except OSError:
            # A reset on one side ends the other side too.
            with contextlib.suppress(OSError):
                source.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _remember(self, *sockets: socket.socket) -> bool:
        with self._lock:
            if not self._refuses:
                self._open |= set(sockets)
            return not self._refuses

    def _spawn(self, work: object) -> None:
        thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()]
            self._threads.append(thread)
        thread.start()
