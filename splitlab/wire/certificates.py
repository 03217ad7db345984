"""Certificates looked at before gRPC takes them: it says of none what is wrong with it."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from splitlab.errors import BadInput
from splitlab.wire.pem import certificates, certificates_pem

PeerRole = Literal["server", "client"]
_USES = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
REMEDY = "`cloud-server make-certificates` makes new ones"


def check_authority(path: Path, flag: str, now: datetime | None = None) -> None:
    """An authority's file holds a certificate that verifies something today.

    Args:
        path: a PEM file; of several certificates one that is valid is enough, as in a system's.
        flag: that named it.
        now: default the clock's.

    Raises:
        BadInput: a key, no certificate, a damaged one, or none that is valid.
    """
    found = certificates(path, flag, "the certificate of the authority, such as ca.pem")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(
            cadata=certificates_pem(path, flag).decode("ascii")
        )
    except ssl.SSLError as error:
        raise _damaged(path, flag, error) from error
    doubts = [_doubt(certificate, now) for certificate in found]
    if all(doubts):
        raise BadInput(f"{flag} {path} {doubts[0]}")


def check_own(
    path: Path, flag: str, now: datetime | None = None, who: PeerRole | None = None
) -> None:
    """The certificate that is shown to peers, the first of its chain, is valid and may be shown by
    this side: who verifies it refuses any other.

    Args:
        path: a PEM file.
        flag: that named it.
        now: default the clock's.
        who: shows it; None for either.

    Raises:
        BadInput: a damaged certificate, one that is not valid, or one for other uses alone.
    """
    own = certificates(path, flag)[0]
    doubt = _doubt(own, now) or (None if who is None else _misused(own, who))
    if doubt is not None:
        raise BadInput(f"{flag} {path} {doubt}")


def _misused(certificate: x509.Certificate, who: PeerRole) -> str | None:
    """Why `who` may not show it, None where it may; without that extension it is for every use."""
    try:
        uses = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except (x509.ExtensionNotFound, ValueError):
        return None
    wanted = _USES[who]
    if wanted in uses or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in uses:
        return None
    other: PeerRole = "client" if who == "server" else "server"
    alone = f"{other}s alone" if _USES[other] in uses else "other uses"
    return (
        f"is for {alone} (its extended key usage lacks {who}Auth), so that no peer takes it from a "
        f"{who}; give a {who}'s certificate, such as {who}.pem; {REMEDY}"
    )


def _damaged(path: Path, flag: str, error: Exception) -> BadInput:
    why = getattr(error, "reason", None) or error
    return BadInput(f"{flag} {path} holds a certificate that cannot be read ({why}); copy it again")


def _doubt(certificate: x509.Certificate, now: datetime | None) -> str | None:
    """Why it is not valid, None where it is."""
    now = now or datetime.now(UTC)
    if now > certificate.not_valid_after_utc:
        return f"expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; {REMEDY}"
    if now < certificate.not_valid_before_utc:
        return (
            f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "set this machine's clock"
        )
    return None
