"""A development authority, and the two certificates it signs: a server's and a client's."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from splitlab.errors import BadInput
from splitlab.storage import require_writable

FILES = ("ca.pem", "server.pem", "server.key", "client.pem", "client.key")
CLOCKS_APART = timedelta(minutes=5)


def write_certificates(folder: Path, names: Sequence[str], days: int) -> list[Path]:
    """`FILES` in `folder`, keys readable by their owner alone. The authority's own key is not kept.

    Args:
        names: DNS names and IP addresses under which the server is reached.
        days: how long all of them are valid.

    Raises:
        BadInput: no name, one that is neither name nor address, or files that are there already.
    """
    require_writable(folder)
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise BadInput(f"{folder / there[0]} is there already; give another folder")
    if not names:
        raise BadInput("--name: give at least one name or address of the server")
    alternatives = x509.SubjectAlternativeName([_name(name) for name in names])
    until = datetime.now(UTC) + timedelta(days=days)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _called("SplitLab development authority")
    ca = (
        _certificate(ca_name, ca_name, ca_key, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signs_certificates(), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "ca.pem", ca.public_bytes(serialization.Encoding.PEM))
    uses = (
        ("server", ExtendedKeyUsageOID.SERVER_AUTH, alternatives),
        ("client", ExtendedKeyUsageOID.CLIENT_AUTH, None),
    )
    for who, use, alternative in uses:
        key = ec.generate_private_key(ec.SECP256R1())
        made = _certificate(_called(f"SplitLab {who}"), ca_name, key, until)
        made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        if alternative is not None:
            made = made.add_extension(alternative, critical=False)
        signed = made.sign(ca_key, hashes.SHA256())
        _write(folder / f"{who}.pem", signed.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(folder / f"{who}.key", secret, private=True)
    return [folder / name for name in FILES]


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - CLOCKS_APART)
        .not_valid_after(until)
    )


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        pass
    labels = text.split(".")
    if not all(label and label.replace("-", "a").isalnum() and label.isascii() for label in labels):
        raise BadInput(f"--name {text!r} is neither a DNS name nor an IP address")
    return x509.DNSName(text)


def _signs_certificates() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )


def _write(path: Path, content: bytes, *, private: bool = False) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(path, flags, 0o600 if private else 0o644), "wb") as file:
        file.write(content)
