"""TLS: certificates made here and now; without them nothing gets through, and sizes alone leak."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from halves import Client, images

from adversary.relay_tcp import TcpRelay
from cloud_server.server import CloudServer
from edge_client import transport
from edge_client.client import EdgeClient
from splitlab.capture import Capture, CaptureWriter
from splitlab.errors import BadInput, ServerUnavailable
from splitlab.wire.channels import Tls

Serve = Callable[..., CloudServer]
pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate for localhost that is its own authority."""
    folder = tmp_path_factory.mktemp("pem")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return Tls(cert, key, cert)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)


def test_tls_carries_the_answer_and_leaves_only_sizes(
    serve: Serve, pem: Tls, tmp_path: Path
) -> None:
    server = serve(tls=Tls(pem.cert, pem.key))
    tap = CaptureWriter(tmp_path, "tcp")
    relay = TcpRelay("127.0.0.1:0", server.address, tap=tap)
    relay.start()
    half, x = Client(), images(8)
    with EdgeClient(half, [relay.address], tls=Tls(ca=pem.ca)) as client:
        result = client.infer(x)
    relay.stop()
    tap.close()
    assert torch.isfinite(result.logits).all()
    assert sum(f.size for f in Capture.open(tmp_path).frames() if f.direction == "up") > (
        result.payload_up
    )


@pytest.mark.parametrize("tls", [None, Tls()])
def test_without_the_authority_nothing_is_sent(serve: Serve, pem: Tls, tls: Tls | None) -> None:
    server = serve(tls=Tls(pem.cert, pem.key))
    with (
        EdgeClient(Client(), [server.address], tls=tls, retries=0) as client,
        pytest.raises(ServerUnavailable, match=f"{server.address} does not answer"),
    ):
        client.infer(images(2))


def test_a_server_with_an_authority_asks_for_the_client_s_certificate(
    serve: Serve, pem: Tls
) -> None:
    server = serve(tls=pem)
    with EdgeClient(Client(), [server.address], tls=pem) as client:
        client.infer(images(2))
    with (
        EdgeClient(Client(), [server.address], tls=Tls(ca=pem.ca), retries=0) as client,
        pytest.raises(ServerUnavailable),
    ):
        client.infer(images(2))


def test_a_server_needs_both_files(serve: Serve, pem: Tls) -> None:
    with pytest.raises(BadInput, match="both --tls-cert and --tls-key"):
        serve(tls=Tls(cert=pem.cert))
