"""PEM files as people have them, read once: what was looked at is what gRPC is given.

gRPC says of no file what is wrong with it, and takes others than OpenSSL does. So each is parsed
here, and its certificates or its key are written out anew: line ends, words around them and a
key beside a certificate make no difference then.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from splitlab.errors import BadInput

MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S)
_DER = b"\x30"  # of a sequence, which certificate and key are


def read_pem(path: Path, flag: str) -> bytes:
    """The bytes of a PEM file.

    Raises:
        BadInput: it cannot be read, begins with a byte-order mark, or is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{flag} {path}: {error.strerror}; give a PEM file") from error
    for mark, name in MARKS.items():
        if content.startswith(mark):
            raise BadInput(
                f"{flag} {path} begins with a byte-order mark ({name}), which TLS does not take; "
                "save it as plain ASCII without one"
            )
    if b"-----BEGIN" in content:
        return content
    if content.startswith(_DER) and b"\x00" in content:
        kind = "pkey" if "key" in flag else "x509"
        raise BadInput(
            f"{flag} {path} is not a PEM file but DER, the binary form; convert it: "
            f"openssl {kind} -inform DER -in {path} -out NEW.pem"
        )
    raise BadInput(f"{flag} {path} is not a PEM file")


def certificates(path: Path, flag: str, wanted: str = "a certificate") -> list[x509.Certificate]:
    """The certificates of a PEM file, in order.

    Raises:
        BadInput: as `read_pem`, none in it, or one that is damaged.
    """
    content = read_pem(path, flag)
    if CERTIFICATE not in content:
        given = "a private key" if _holds_key(content) else "no certificate"
        raise BadInput(f"{flag} {path} holds {given}; give {wanted}")
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise BadInput(
            f"{flag} {path} holds a certificate that cannot be read ({error}); copy it again"
        ) from error


def private_key(path: Path, flag: str) -> Any:
    """The private key of a PEM file.

    Raises:
        BadInput: as `read_pem`, none in it, more than one, an encrypted or a damaged one.
    """
    content = read_pem(path, flag)
    found = _KEY.findall(content)
    if len(found) != 1:
        given = "a certificate" if CERTIFICATE in content else "no private key that is whole"
        told = f"{len(found)} private keys" if found else given
        raise BadInput(f"{flag} {path} holds {told}; give the private key of the certificate")
    try:
        return serialization.load_pem_private_key(found[0], password=None)
    except TypeError as error:
        raise BadInput(
            f"{flag} {path} is encrypted with a passphrase, for which nobody could be asked; "
            f"write it without: openssl pkey -in {path} -out NEW.key, and chmod 600 NEW.key"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadInput(
            f"{flag} {path} holds a private key that cannot be read ({error}); copy it again"
        ) from error


def check_pair(cert: Path, key: Path) -> None:
    """Certificate and key belong together.

    Raises:
        BadInput: either file as above, both exchanged, or two that do not fit.
    """
    first, second = read_pem(cert, "--tls-cert"), read_pem(key, "--tls-key")
    if _is_key_only(first) and CERTIFICATE in second and not _holds_key(second):
        raise BadInput(
            f"--tls-cert {cert} holds a private key and --tls-key {key} a certificate; "
            "exchange the two"
        )
    chain, secret = certificates(cert, "--tls-cert"), private_key(key, "--tls-key")
    fits = [_public(one.public_key()) == _public(secret.public_key()) for one in chain]
    if fits[0]:
        return
    if any(fits):
        raise BadInput(
            f"--tls-cert {cert}: the certificate of {key} is number {fits.index(True) + 1} of "
            f"{len(chain)}; put it first, and after it those that signed it"
        )
    raise BadInput(
        f"--tls-cert {cert} and --tls-key {key} are not a certificate and its key: the key is of "
        "another certificate; give the two that were made together"
    )


def certificates_pem(path: Path, flag: str) -> bytes:
    """All certificates of a file, written anew."""
    encoding = serialization.Encoding.PEM
    return b"".join(one.public_bytes(encoding) for one in certificates(path, flag))


def key_pem(path: Path, flag: str) -> bytes:
    """The private key of a file, written anew, in memory alone."""
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    made: bytes = private_key(path, flag).private_bytes(serialization.Encoding.PEM, form, plain)
    return made


def names_of(certificate: x509.Certificate) -> list[str]:
    """DNS names and addresses that a certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return [*found.get_values_for_type(x509.DNSName), *addresses]


def _public(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    made: bytes = key.public_bytes(serialization.Encoding.DER, form)
    return made


def _holds_key(content: bytes) -> bool:
    return b"PRIVATE KEY-----" in content


def _is_key_only(content: bytes) -> bool:
    return _holds_key(content) and CERTIFICATE not in content
