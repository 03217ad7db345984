"""TLS: certificates made here and now; without them nothing gets through, and sizes alone leak."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from halves import Client, images

from adversary.tap.tcp_relay import TcpRelay
from cloud_server.authority import FILES, write_certificates
from cloud_server.server import CloudServer
from edge_client import transport
from edge_client.client import EdgeClient
from splitlab.capture import Capture, CaptureWriter
from splitlab.errors import BadInput, ServerUnavailable
from splitlab.wire.channels import Tls

Serve = Callable[..., CloudServer]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of a development authority."""
    folder = tmp_path_factory.mktemp("pem")
    write_certificates(folder, ["localhost", "127.0.0.1"], 1)
    return folder


@pytest.fixture(scope="module")
def pem(made: Path) -> Tls:
    """A server's files, and the authority that clients are asked for."""
    return Tls(made / "server.pem", made / "server.key", made / "ca.pem")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


@contextlib.contextmanager
def recorded(port: int) -> Iterator[tuple[str, bytearray, bytearray]]:
    """HOST:PORT that leads one connection to a port, and the bytes that went up and down."""
    up, down = bytearray(), bytearray()

    def pump(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                kept.extend(data)
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def lead() -> None:
        client, _ = listening.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as there:
            back = threading.Thread(target=pump, args=(there, client, down))
            back.start()
            pump(client, there, up)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        leading = threading.Thread(target=lead, daemon=True)
        leading.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", up, down
        leading.join(20)


@pytest.mark.parametrize("encrypted", [False, True])
def test_tls_carries_the_answer_and_leaves_only_sizes(
    serve: Serve, pem: Tls, tmp_path: Path, encrypted: bool
) -> None:
    inside = CaptureWriter(tmp_path / "in", "server")
    outside = CaptureWriter(tmp_path / "out", "tcp")
    server = serve(tls=Tls(pem.cert, pem.key) if encrypted else None, tap=inside)
    relay = TcpRelay("127.0.0.1:0", server.address, tap=outside)
    relay.start()
    with (
        recorded(relay.port) as (address, up, down),
        EdgeClient(Client(), [address], tls=Tls(ca=pem.ca) if encrypted else None) as client,
    ):
        logits = client.infer(images(8)).logits
    relay.stop()
    inside.close()
    outside.close()
    assert torch.isfinite(logits).all()
    (exchange,) = Capture.open(tmp_path / "in").exchanges()
    feature, output = exchange.feature.numpy().tobytes(), exchange.outputs[0].numpy().tobytes()
    assert (feature in up, output in down) == (not encrypted, not encrypted)
    frames = list(Capture.open(tmp_path / "out").frames())
    for direction, kept, payload in (("up", up, feature), ("down", down, output)):
        assert len(kept) > len(payload)
        assert sum(f.size for f in frames if f.direction == direction) > len(payload)


@pytest.mark.parametrize("tls", [None, Tls()])
def test_without_the_authority_nothing_is_sent(serve: Serve, pem: Tls, tls: Tls | None) -> None:
    server = serve(tls=Tls(pem.cert, pem.key))
    with (
        EdgeClient(Client(), [server.address], tls=tls, retries=0) as client,
        pytest.raises(ServerUnavailable, match=f"{server.address} does not answer"),
    ):
        client.infer(images(2))


def test_a_server_with_an_authority_asks_for_the_client_s_certificate(
    serve: Serve, pem: Tls, made: Path, tmp_path: Path
) -> None:
    server = serve(tls=pem)
    known = Tls(made / "client.pem", made / "client.key", pem.ca)
    with EdgeClient(Client(), [server.address], tls=known) as client:
        client.infer(images(2))
    write_certificates(tmp_path, ["localhost"], 1)  # of another authority
    stranger = Tls(tmp_path / "client.pem", tmp_path / "client.key", pem.ca)
    for tls in (Tls(ca=pem.ca), stranger):
        with (
            EdgeClient(Client(), [server.address], tls=tls, retries=0) as client,
            pytest.raises(ServerUnavailable),
        ):
            client.infer(images(2))


def test_a_server_needs_both_files(serve: Serve, pem: Tls) -> None:
    with pytest.raises(BadInput, match="both --tls-cert and --tls-key"):
        serve(tls=Tls(cert=pem.cert))


def test_files_that_are_no_certificate_and_key_are_told(
    serve: Serve, made: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.pem"
    words.write_text("hello")
    cases = (
        (Tls(made / "server.pem", made / "client.key"), "are not a certificate and its key"),
        (Tls(words, made / "server.key"), "words.pem is not a PEM file"),
        (Tls(made / "server.pem", made / "server.key", words), "--client-ca .* not a PEM file"),
        (Tls(made / "server.pem", tmp_path / "none"), "--tls-key .*: No such file"),
    )
    for tls, message in cases:
        with pytest.raises(BadInput, match=message):
            serve(tls=tls)


def test_keys_are_private_and_nothing_is_overwritten(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (made / name).stat().st_mode & 0o777 == (0o600 if name.endswith("key") else 0o644)
    with pytest.raises(BadInput, match=r"ca\.pem is there already"):
        write_certificates(made, ["localhost"], 1)


@pytest.mark.parametrize("name", ["", "a b", "a..b", "http://host"])
def test_a_name_that_is_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="neither a DNS name nor an IP address"):
        write_certificates(tmp_path, [name], 1)
    with pytest.raises(BadInput, match="at least one name"):
        write_certificates(tmp_path, [], 1)
    assert not list(tmp_path.iterdir())
