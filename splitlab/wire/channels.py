"""How channels and ports are opened: addresses, TLS, and every gRPC option with unit and reason."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import grpc

from splitlab.errors import BadInput
from splitlab.wire.addresses import is_loopback as is_loopback
from splitlab.wire.addresses import split_address as split_address
from splitlab.wire.certificates import PeerRole, check_authority, check_own
from splitlab.wire.pem import certificates_pem, check_pair, key_pem

Options = list[tuple[str, int]]

TRIAL = "127.0.0.1:0"
IDLE_MS = 30_000
"""A connection without a call is closed after this; its client opens another with its next call."""


@dataclass(frozen=True)
class Tls:
    """PEM files. A server needs `cert` and `key`; a client needs `ca` (or takes the system's).

    With `ca`, a server accepts only clients whose certificate that authority signed; a client
    shows `cert` and `key` where it has them.
    """

    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None

    def read(self, which: Literal["cert", "key", "ca"], flag: str = "") -> bytes | None:
        """One of the three files for gRPC, read and written anew; None where it was not given.

        Args:
            flag: that named it; default `--tls-cert`, `--tls-key` or `--tls-ca`.

        Raises:
            BadInput: the file cannot be read or is no PEM.
        """
        path: Path | None = getattr(self, which)
        if path is None:
            return None
        flag = flag or f"--tls-{which}"
        return key_pem(path, flag) if which == "key" else certificates_pem(path, flag)

    def check(self, ca_flag: str = "--tls-ca", who: PeerRole = "client") -> None:
        """Look at all three files, so that a wrong one is told by its flag: gRPC would say that
        the peer does not answer, or that the port cannot be bound.

        Args:
            ca_flag: that named the authority.
            who: shows the certificate.

        Raises:
            BadInput: one of certificate and key without the other, two that do not fit, an
                authority that is none, or certificates that are not valid now or not for `who`.
        """
        if self.cert is not None or self.key is not None:
            self._check_pair(who)
        if self.ca is not None:
            check_authority(self.ca, ca_flag)

    def _check_pair(self, who: PeerRole) -> None:
        if self.cert is None or self.key is None:
            raise BadInput("a certificate needs its key: give both --tls-cert and --tls-key")
        check_pair(self.cert, self.key)
        check_own(self.cert, "--tls-cert", who=who)


def require_privacy(
    host: str, flag: str, *, insecure: bool, tls: Tls | None, token: str | None = None
) -> None:
    """Plaintext stays on loopback unless `--insecure` says otherwise; a token always does.

    Raises:
        BadInput: plaintext off loopback.
    """
    if tls is not None or is_loopback(host):
        return
    if token is not None:
        raise BadInput(
            f"{flag} {host}: plaintext off loopback hands the token to everyone on the way; give "
            "TLS files beside --token-file"
        )
    if not insecure:
        raise BadInput(
            f"{flag} {host}: plaintext off loopback lets everyone on the way read along; "
            "give TLS files (`cloud-server make-certificates` makes some) or accept it with "
            "--insecure"
        )


def channel_options(max_receive: int) -> Options:
    """Options of a client's channel.

    Args:
        max_receive: bytes of the largest reply that is accepted, -1 for no limit.
    """
    return [
        # bytes; a reply is never larger than what the deployment declares
        ("grpc.max_receive_message_length", max_receive),
        # bytes; the client cuts its own micro-batches, so nothing needs to be refused here
        ("grpc.max_send_message_length", -1),
        # 0 or 1; retries are ours: bounded, on UNAVAILABLE only, and counted
        ("grpc.enable_retries", 0),
        # ms; a server that comes back is found within the client's own backoff, not after 20 s
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # ms; a peer that vanished without a word is noticed while a call is under way
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # 0 or 1; a proxy of the environment must not see features
        ("grpc.enable_http_proxy", 0),
    ]


def server_options(
    max_receive: int, streams: int | None = None, connections: int | None = None
) -> Options:
    """Options of a server's port.

    gRPC counts connections of all hosts together, not of each: whoever can reach the port may hold
    all of them, one without a token each for `IDLE_MS`, and again after a call in vain. A firewall
    counts them by host.

    Args:
        max_receive: bytes of the largest declared micro-batch with its envelope; a larger message
            is answered with RESOURCE_EXHAUSTED before it is read. -1 for no limit.
        streams: calls that one connection may have open; None for no limit.
        connections: that may be open at each address of the port, of which a name may have
            several; a further one is closed at once. None for no limit.
    """
    return [
        ("grpc.max_receive_message_length", max_receive),
        # bytes; outputs follow from the request, which was limited
        ("grpc.max_send_message_length", -1),
        # 0 or 1; a port that is taken must be an error, not shared
        ("grpc.so_reuseport", 0),
        # ms; lets clients ask for a sign of life as often as `channel_options` does
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        # ms; a connection that says nothing, or nothing more, is closed; calls under way are not
        ("grpc.server_handshake_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", IDLE_MS),
        # ms; a peer that vanished without a word gives its place back
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        *([] if streams is None else [("grpc.max_concurrent_streams", streams)]),
        # of all hosts; beyond file descriptors nobody could connect, nor a file be opened
        *([] if connections is None else [("grpc.max_allowed_incoming_connections", connections)]),
    ]


def open_channel(
    address: str,
    *,
    insecure: bool,
    tls: Tls | None,
    max_receive: int,
    flag: str = "--server",
    token: str | None = None,
) -> grpc.Channel:
    """A channel to HOST:PORT; connecting happens on first use.

    Args:
        token: will be shown there with every call.

    Raises:
        BadInput: not an address, plaintext off loopback, or a TLS file that cannot be read.
    """
    host, _ = split_address(address, flag)
    require_privacy(host, flag, insecure=insecure, tls=tls, token=token)
    options = channel_options(max_receive)
    if tls is None:
        return grpc.insecure_channel(address, options=options)
    tls.check()
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.read("ca"),
        private_key=tls.read("key"),
        certificate_chain=tls.read("cert"),
    )
    return grpc.secure_channel(address, credentials, options=options)


def check_listen(
    listen: str, *, insecure: bool, tls: Tls | None, token: str | None = None
) -> grpc.ServerCredentials | None:
    """What a server needs to listen there; opens no port there. None for plaintext.

    Raises:
        BadInput: not an address, plaintext off loopback, or TLS files that do not do.
    """
    host, _ = split_address(listen, "--listen")
    require_privacy(host, "--listen", insecure=insecure, tls=tls, token=token)
    return None if tls is None else _server_credentials(tls)


def bind(
    server: grpc.Server,
    listen: str,
    *,
    insecure: bool,
    tls: Tls | None,
    token: str | None = None,
) -> int:
    """Bind HOST:PORT (port 0 picks a free one) and return the port.

    Args:
        token: will be asked for there.

    Raises:
        BadInput: not an address, taken, plaintext off loopback, or TLS files that do not do.
    """
    credentials = check_listen(listen, insecure=insecure, tls=tls, token=token)
    try:
        if credentials is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise BadInput(
            f"--listen {listen}: cannot bind; the port is taken or the address is not this "
            f"machine's; choose another, port 0 picks a free one"
        ) from error
    return int(port)


def _server_credentials(tls: Tls) -> grpc.ServerCredentials:
    tls.check("--client-ca", "server")
    cert, key, ca = tls.read("cert"), tls.read("key"), tls.read("ca", "--client-ca")
    if cert is None or key is None:
        raise BadInput("a server with TLS needs both --tls-cert and --tls-key")
    made = grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=ca is not None)
    _require_taken(made, tls)
    return made


def _require_taken(credentials: grpc.ServerCredentials, tls: Tls) -> None:
    """gRPC has the last word on these files, and gives it when a port is opened: here one of its
    choice on loopback, closed at once.

    Raises:
        BadInput: a kind of key or signature that it does not know.
    """
    trial = grpc.server(ThreadPoolExecutor(1))
    try:
        trial.add_insecure_port(TRIAL)
    except RuntimeError:
        return  # a machine without that address; what is wrong will be told by `bind`
    try:
        trial.add_secure_port(TRIAL, credentials)
    except RuntimeError as error:
        files = ", ".join(str(path) for path in (tls.cert, tls.key, tls.ca) if path is not None)
        raise BadInput(
            f"gRPC does not take these TLS files ({files}): it knows RSA, Ed25519 and the "
            "curves P-256, P-384 and P-521; `cloud-server make-certificates` makes some"
        ) from error
    finally:
        trial.stop(None)
