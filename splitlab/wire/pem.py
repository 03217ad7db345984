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
_BEGIN, _END = b"-----BEGIN ", b"-----END "
_PKCS7 = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"  # the name of signed data


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
        what, command = _binary(content, "key" in flag)
        raise BadInput(
            f"{flag} {path} is not a PEM file but {what}; convert it: "
            f"openssl {command.format(path=path)}"
        )
    raise BadInput(f"{flag} {path} is not a PEM file")


def _binary(content: bytes, wants_key: bool) -> tuple[str, str]:
    """What a file of ASN.1 is by its first element, and OpenSSL's command that writes PEM of it."""
    length = content[1] & 0x7F if content[1] & 0x80 else 0
    first = content[2 + length :]
    if first.startswith(b"\x02\x01\x03"):  # a version 3 before anything else
        part, ending = ("-nocerts -nodes", "key") if wants_key else ("-nokeys", "pem")
        return (
            "PKCS#12, certificate and key in one binary file",
            f"pkcs12 -in {{path}} {part} -out NEW.{ending}",
        )
    if first.startswith(_PKCS7):
        command = "pkcs7 -inform DER -print_certs -in {path} -out NEW.pem"
        return "PKCS#7, the binary form of a list of certificates", command
    is_key = wants_key or first.startswith((b"\x02\x01\x00", b"\x02\x01\x01"))
    kind = "pkey" if is_key else "x509"
    return "DER, the binary form", f"{kind} -inform DER -in {{path}} -out NEW.pem"


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
        if content.count(_BEGIN) > content.count(_END):
            raise ValueError("it is cut short: one begins and does not end")
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise BadInput(
            f"{flag} {path} holds a certificate that cannot be read ({_why(error)}); copy it again"
        ) from error


def private_key(path: Path, flag: str) -> Any:
    """The private key of a PEM file.

    Raises:
        BadInput: as `read_pem`, none in it, more than one, an encrypted or a damaged one.
    """
    content = read_pem(path, flag)
    found = _KEY.findall(content)
    if len(found) != 1:
        lacks = CERTIFICATE in content and not _holds_key(content)
        given = "a certificate" if lacks else "no private key that is whole"
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
            f"{flag} {path} holds a private key that cannot be read ({_why(error)}); copy it again"
        ) from error


def _why(error: Exception) -> str:
    """An error of `cryptography` without the page that it sends its own users to."""
    words = str(error)
    if "Unable to load PEM" in words:
        return "what stands between its BEGIN and END is no base64, or the lines are damaged"
    return words.partition(". The data may be")[0]


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
