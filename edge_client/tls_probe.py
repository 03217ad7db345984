"""Why a server does not answer, asked with Python's own TLS: gRPC says "Socket closed".

Asked once, after a request failed. An address that a name stands for and nobody listens at
(`localhost` on IPv6) does not hide the one where somebody does.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import suppress

from cryptography import x509

from splitlab.errors import foreign
from splitlab.wire.channels import Tls, split_address
from splitlab.wire.pem import certificates_pem, names_of

SECONDS = 3.0
"""For each step."""
WANTED = "CERTIFICATE_REQUIRED|HANDSHAKE_FAILURE"
STRANGE = "UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|DECRYPT_ERROR"
PLAIN = "WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|UNKNOWN_PROTOCOL|HTTP_REQUEST|PACKET_LENGTH"

_OTHER_USE = 26  # X509_V_ERR_INVALID_PURPOSE


class _HungUp(OSError):
    """The server closed the connection after the handshake, which gRPC does in place of an alert
    where a client shows no certificate or a wrong one.
    """


def diagnose(address: str, tls: Tls | None) -> str | None:
    """What is wrong between two that could be reached, in words; None where it is not TLS.

    Args:
        address: HOST:PORT.
        tls: what the client was given.
    """
    host, port = split_address(address, "--server")
    name = host.strip("[]")
    with suppress(OSError, ValueError):
        if tls is None:
            return _speaks_tls(name, port)
        return _verified(name, port, tls)
    return None


def _speaks_tls(name: str, port: int) -> str | None:
    try:
        _handshake(_unverified(), name, port)
    except _HungUp:
        pass
    except ssl.SSLError as error:
        if not re.search(WANTED, str(error.reason or error)):
            return None
    return "it speaks TLS, and this client was told none; give --tls-ca with its authority"


def _verified(name: str, port: int, tls: Tls) -> str | None:
    try:
        context = ssl.create_default_context()
        if tls.ca is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=certificates_pem(tls.ca, "--tls-ca").decode())
        if tls.cert is not None and tls.key is not None:
            context.load_cert_chain(tls.cert, tls.key, "")
        _handshake(context, name, port)
    except ssl.SSLCertVerificationError as error:
        return _distrusted(name, port, tls, error)
    except ssl.SSLError as error:
        return _refused(str(error.reason or error), tls)
    except _HungUp:
        return _refused("HANDSHAKE_FAILURE", tls)
    return None


def _distrusted(name: str, port: int, tls: Tls, error: ssl.SSLCertVerificationError) -> str:
    shown = _certificate(name, port)
    if shown is not None and error.verify_code in (62, 64):  # of a name, of an address
        names = ", ".join(foreign(one) for one in names_of(shown)) or "no name at all"
        return (
            f"its certificate is for {names}, not for {name}; connect to one of these, or "
            f"have one made with `cloud-server make-certificates --name {name}`"
        )
    if error.verify_code == _OTHER_USE:
        return (
            "it shows a certificate that is not for servers (its extended key usage lacks "
            "serverAuth); give the server another one as its --tls-cert, such as server.pem of "
            "`cloud-server make-certificates`"
        )
    why = foreign(error.verify_message)
    by = f"--tls-ca {tls.ca}" if tls.ca is not None else "the system's authorities (no --tls-ca)"
    return f"its certificate cannot be verified with {by}: {why}; give the authority that signed it"


def _refused(reason: str, tls: Tls) -> str | None:
    if re.search(PLAIN, reason):
        return "it speaks no TLS there; see the port, or leave --tls-cert, --tls-key, --tls-ca out"
    if re.search(WANTED, reason) and tls.cert is None:
        return (
            "it asks its clients for a certificate (--client-ca there); give --tls-cert and "
            "--tls-key with one that its authority signed"
        )
    if re.search(f"{WANTED}|{STRANGE}", reason):
        return (
            f"it does not accept the certificate of --tls-cert {tls.cert}; "
            "give one that the authority of its --client-ca signed"
        )
    return None


def _certificate(name: str, port: int) -> x509.Certificate | None:
    """What the server shows, believed by nobody."""
    raw: bytes | None = None
    with suppress(OSError):
        raw = _handshake(_unverified(), name, port, only_shown=True)
    return None if raw is None else x509.load_der_x509_certificate(raw)


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _handshake(
    context: ssl.SSLContext, name: str, port: int, *, only_shown: bool = False
) -> bytes | None:
    """Shake hands; the certificate that was shown. Nothing of a request is sent.

    Raises:
        ssl.SSLError: either side refuses; with TLS 1.3 the server says so after the handshake.
        OSError: nobody listens at any address of the name, or nothing is heard.
    """
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection((name, port), SECONDS) as reached,
        context.wrap_socket(reached, server_hostname=name) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
        if not only_shown:
            _hear(secured)
        return shown


def _hear(secured: ssl.SSLSocket) -> None:
    """The server's HTTP/2 settings, which come first, or its alert.

    Raises:
        ssl.SSLError: an alert.
        _HungUp: neither.
    """
    try:
        heard = secured.recv(1)
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        raise _HungUp from error
    if not heard:
        raise _HungUp
