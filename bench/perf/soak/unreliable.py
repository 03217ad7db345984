"""A cable that can be pulled out: a TCP relay whose connections are dropped and refused at will."""

from __future__ import annotations

from adversary.tap.tcp_relay import TcpRelay


class Cable(TcpRelay):
    """Between clients and a server on the loopback interface, until `stop`.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1:0", f"127.0.0.1:{port}", tap=None)
        self.start()

    def cut(self) -> None:
        """Drop every connection, and every new one until `mend`."""
        self._hang_up()

    def mend(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._refuses = False
