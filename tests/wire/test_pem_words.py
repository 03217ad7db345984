"""Files that are no PEM, or half of one: what each is, and the command that mends it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12

from cloud_server.authority import write_certificates
from splitlab.errors import BadInput
from splitlab.wire.pem import certificates, private_key


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's certificate and key in the binary forms that people have, and cut ones."""
    folder = tmp_path_factory.mktemp("pem")
    write_certificates(folder, ["localhost"], 1)
    pem, secret = (folder / "server.pem").read_bytes(), (folder / "server.key").read_bytes()
    one = x509.load_pem_x509_certificate(pem)
    key = serialization.load_pem_private_key(secret, None)
    der, plain = serialization.Encoding.DER, serialization.NoEncryption()
    locked = serialization.BestAvailableEncryption(b"x")
    for name, how in (("open.p12", plain), ("locked.p12", locked)):
        whole = pkcs12.serialize_key_and_certificates(b"me", key, one, [one], how)  # type: ignore[arg-type]
        (folder / name).write_bytes(whole)
    (folder / "list.p7b").write_bytes(pkcs7.serialize_certificates([one], der))
    (folder / "server.der").write_bytes(one.public_bytes(der))
    form = serialization.PrivateFormat
    (folder / "pkcs8.der").write_bytes(key.private_bytes(der, form.PKCS8, plain))
    (folder / "old.der").write_bytes(key.private_bytes(der, form.TraditionalOpenSSL, plain))
    (folder / "cut.pem").write_bytes(pem[: len(pem) // 2])
    (folder / "chain.pem").write_bytes(pem + pem[: len(pem) // 2])
    (folder / "odd.pem").write_bytes(pem[:60] + b"?" + pem[61:])
    (folder / "cut.key").write_bytes(secret[: len(secret) // 2])
    (folder / "both.key").write_bytes(pem + secret[: len(secret) // 2])
    (folder / "odd.key").write_bytes(secret[:50] + b"?" + secret[51:])
    return folder


CERTIFICATES = {
    "open.p12": r"but PKCS#12, .*: openssl pkcs12 -in \S*open\.p12 -nokeys -out NEW\.pem$",
    "locked.p12": r"but PKCS#12, .*: openssl pkcs12 -in \S*locked\.p12 -nokeys -out NEW\.pem$",
    "list.p7b": r"but PKCS#7, .*: openssl pkcs7 -inform DER -print_certs -in \S*list\.p7b",
    "server.der": r"but DER, .*: openssl x509 -inform DER -in \S*server\.der",
    "pkcs8.der": r"but DER, .*: openssl pkey -inform DER -in \S*pkcs8\.der",
    "old.der": r"but DER, .*: openssl pkey -inform DER -in \S*old\.der",
    "cut.pem": r"cannot be read \(it is cut short: one begins and does not end\); copy it again$",
    "chain.pem": r"cannot be read \(it is cut short: one begins and does not end\); copy it again$",
    "odd.pem": r"cannot be read \(what stands between its BEGIN and END is no base64",
}
KEYS = {
    "open.p12": r"but PKCS#12, .*: openssl pkcs12 -in \S*open\.p12 -nocerts -nodes -out NEW\.key$",
    "pkcs8.der": r"but DER, .*: openssl pkey -inform DER -in \S*pkcs8\.der",
    "cut.key": r"holds no private key that is whole",
    "both.key": r"holds no private key that is whole",
    "odd.key": r"cannot be read \(what stands between its BEGIN and END is no base64",
    "server.pem": r"holds a certificate; give the private key",
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_what_is_given_for_a_certificate(made: Path, name: str) -> None:
    with pytest.raises(BadInput, match=CERTIFICATES[name]) as told:
        certificates(made / name, "--tls-cert")
    assert "http" not in str(told.value)


@pytest.mark.parametrize("name", KEYS)
def test_what_is_given_for_a_key(made: Path, name: str) -> None:
    with pytest.raises(BadInput, match=KEYS[name]) as told:
        private_key(made / name, "--tls-key")
    assert "http" not in str(told.value)
