"""What is wrong with TLS files and between two peers is told, by file and reason, on both ways."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from halves import Client, images
from typer.testing import CliRunner

from cloud_server.authority import write_certificates
from cloud_server.server import CloudServer
from edge_client import transport
from edge_client.cli import app
from edge_client.client import EdgeClient
from splitlab.errors import BadInput, ServerUnavailable
from splitlab.wire.channels import Tls, check_listen

Serve = Callable[..., CloudServer]
PEM = serialization.Encoding.PEM


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pem")
    write_certificates(folder, ["localhost", "127.0.0.1"], 1)
    return folder


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


def own(folder: Path, curve: ec.EllipticCurve | None = None, days: int = 1) -> tuple[Path, Path]:
    """A certificate that signed itself, and its key."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own")])
    until = datetime.now(UTC) + timedelta(days)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(until - timedelta(30)).not_valid_after(until)
    cert, secret = folder / "own.pem", folder / "own.key"
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(PEM, form, plain))
    return cert, secret


def spoilt(made: Path, folder: Path, kind: str) -> Tls:
    """A server's files with one fault."""
    cert, key = folder / "cert.pem", folder / "cert.key"
    there, secret = (made / "server.pem").read_bytes(), (made / "server.key").read_bytes()
    parsed = x509.load_pem_x509_certificate(there)
    loaded = serialization.load_pem_private_key(secret, None)
    form = serialization.PrivateFormat.PKCS8
    locked = loaded.private_bytes(PEM, form, serialization.BestAvailableEncryption(b"x"))
    der, plain = serialization.Encoding.DER, serialization.NoEncryption()
    contents = {
        "mark": (b"\xef\xbb\xbf" + there, secret),
        "mark-key": (there, b"\xef\xbb\xbf" + secret),
        "utf-16": (there.decode().encode("utf-16"), secret),
        "der": (parsed.public_bytes(der), secret),
        "der-key": (there, loaded.private_bytes(der, form, plain)),
        "swapped": (secret, there),
        "locked": (there, locked),
        "no-key": (there, there),
        "two-keys": (there, secret + secret),
        "cut": (there[: len(there) // 2] + b"\n-----END CERTIFICATE-----\n", secret),
        "cut-key": (there, secret[:100]),
        "behind": ((made / "ca.pem").read_bytes() + there, secret),
        "other": (there, (made / "client.key").read_bytes()),
    }
    cert.write_bytes(contents[kind][0])
    key.write_bytes(contents[kind][1])
    return Tls(cert, key)


FAULTS = {
    "mark": r"--tls-cert .*cert\.pem begins with a byte-order mark \(UTF-8\)",
    "mark-key": r"--tls-key .*cert\.key begins with a byte-order mark",
    "utf-16": r"--tls-cert .*cert\.pem begins with a byte-order mark \(UTF-16\)",
    "der": r"--tls-cert .*cert\.pem is not a PEM file but DER.*openssl x509 -inform DER",
    "der-key": r"--tls-key .*cert\.key is not a PEM file but DER.*openssl pkey -inform DER",
    "swapped": r"--tls-cert .* holds a private key and --tls-key .* a certificate; exchange",
    "locked": r"--tls-key .*cert\.key is encrypted with a passphrase.*openssl pkey",
    "no-key": r"--tls-key .*cert\.key holds a certificate; give the private key",
    "two-keys": r"--tls-key .*cert\.key holds 2 private keys",
    "cut": r"--tls-cert .*cert\.pem holds a certificate that cannot be read",
    "cut-key": r"--tls-key .*cert\.key holds no private key that is whole",
    "behind": r"--tls-cert .*cert\.pem: the certificate of .*cert\.key is number 2 of 2",
    "other": r"are not a certificate and its key: the key is of another",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_check_and_start_tell_the_same(serve: Serve, made: Path, tmp_path: Path, kind: str) -> None:
    tls = spoilt(made, tmp_path, kind)
    with pytest.raises(BadInput, match=FAULTS[kind]) as checked:
        check_listen("127.0.0.1:0", insecure=False, tls=tls)
    with pytest.raises(BadInput) as started:
        serve(tls=tls)
    assert str(started.value) == str(checked.value)


@pytest.mark.parametrize("faulty", ["old", "curve"])
def test_certificates_that_grpc_or_peers_refuse(serve: Serve, tmp_path: Path, faulty: str) -> None:
    curve = ec.SECP256K1() if faulty == "curve" else None
    tls = Tls(*own(tmp_path, curve, days=-1 if faulty == "old" else 1))
    words = {"old": r"own\.pem expired on", "curve": r"gRPC does not take .*own\.pem"}[faulty]
    with pytest.raises(BadInput, match=words):
        check_listen("127.0.0.1:0", insecure=False, tls=tls)
    with pytest.raises(BadInput, match=words):
        serve(tls=tls)


@pytest.mark.parametrize("how", ["crlf", "garbage", "chain", "one-file"])
def test_files_as_editors_and_tools_write_them(
    serve: Serve, made: Path, tmp_path: Path, how: str
) -> None:
    cert, key, ca = tmp_path / "c.pem", tmp_path / "c.key", tmp_path / "ca.pem"
    there, secret = (made / "server.pem").read_bytes(), (made / "server.key").read_bytes()
    authority = (made / "ca.pem").read_bytes()
    if how == "crlf":
        there, secret, authority = (
            part.replace(b"\n", b"\r\n") for part in (there, secret, authority)
        )
    elif how == "garbage":
        there, secret = b"Certificate:\n  Data\n" + there + b"\xff\x00 tail", secret + b"tail\n"
        authority += b"\x00\x00"
    elif how == "chain":
        there += authority
    else:
        there = secret = secret + there
    for path, content in ((cert, there), (key, secret), (ca, authority)):
        path.write_bytes(content)
    check_listen("127.0.0.1:0", insecure=False, tls=Tls(cert, key))
    server = serve(tls=Tls(cert, key))
    with EdgeClient(Client(), [server.address], tls=Tls(ca=ca)) as client:
        assert len(client.infer(images(2)).logits) == 2


def failing(address: str, tls: Tls | None, retries: int = 0) -> str:
    with (
        EdgeClient(Client(), [address], tls=tls, retries=retries) as client,
        pytest.raises(ServerUnavailable) as told,
    ):
        client.infer(images(2))
    return str(told.value)


def test_a_server_that_wants_a_certificate(serve: Serve, made: Path, tmp_path: Path) -> None:
    pem = Tls(made / "server.pem", made / "server.key", made / "ca.pem")
    server = serve(tls=pem)
    told = failing(server.address, Tls(ca=pem.ca))
    assert "asks its clients for a certificate (--client-ca there); give --tls-cert" in told
    stranger = Tls(*own(tmp_path), pem.ca)
    assert "does not accept the certificate of --tls-cert" in failing(server.address, stranger)


def test_names_of_a_certificate_are_told(serve: Serve, tmp_path: Path) -> None:
    write_certificates(tmp_path, ["lab.example", "10.1.2.3"], 1)
    server = serve(tls=Tls(tmp_path / "server.pem", tmp_path / "server.key"))
    port = server.port
    for host in ("127.0.0.1", "localhost"):
        told = failing(f"{host}:{port}", Tls(ca=tmp_path / "ca.pem"))
        assert f"its certificate is for lab.example, 10.1.2.3, not for {host}" in told
        assert "refused" not in told


def test_authorities_that_do_not_fit(serve: Serve, made: Path, tmp_path: Path) -> None:
    server = serve(tls=Tls(made / "server.pem", made / "server.key"))
    write_certificates(tmp_path, ["localhost"], 1)
    told = failing(server.address, Tls(ca=tmp_path / "ca.pem"))
    assert f"cannot be verified with --tls-ca {tmp_path / 'ca.pem'}" in told
    assert "the system's authorities" in failing(server.address, Tls())
    assert "it speaks TLS, and this client was told none" in failing(server.address, None)


def test_tls_to_a_server_without(serve: Serve, made: Path) -> None:
    told = failing(serve().address, Tls(ca=made / "ca.pem"))
    assert "it speaks no TLS there" in told


def test_nobody_there_stays_nobody_there(made: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = failing(f"127.0.0.1:{port}", Tls(ca=made / "ca.pem"), retries=1)
    assert "does not answer after 2 attempts (" in told
    assert "is cloud-server running there" in told


def test_a_server_that_shows_a_client_s_certificate(
    serve: Serve, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = Tls(made / "client.pem", made / "client.key")
    with pytest.raises(BadInput, match=r"client\.pem is for clients alone"):
        serve(tls=tls)
    monkeypatch.setattr(Tls, "check", lambda *_: None)  # as another kind of server would
    told = failing(serve(tls=tls).address, Tls(ca=made / "ca.pem"))
    assert "it shows a certificate that is not for servers" in told
    assert "give the authority" not in told


def test_a_client_that_shows_a_server_s_certificate(made: Path) -> None:
    tls = Tls(made / "server.pem", made / "server.key", made / "ca.pem")
    with pytest.raises(BadInput, match=r"--tls-cert .*server\.pem is for servers alone"):
        EdgeClient(Client(), ["localhost:1"], tls=tls)


def test_the_client_s_command_silences_grpc_unless_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["half", "--server", "localhost:1", "infer", "none.png"]
    for given, kept in ((None, "NONE"), ("DEBUG", "DEBUG")):
        monkeypatch.setenv("GRPC_VERBOSITY", "")
        monkeypatch.delenv("GRPC_VERBOSITY")
        if given is not None:
            monkeypatch.setenv("GRPC_VERBOSITY", given)
        CliRunner().invoke(app, words)
        assert os.environ["GRPC_VERBOSITY"] == kept
