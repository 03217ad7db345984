"""Addresses, and the rule that plaintext stays on loopback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from splitlab.errors import BadInput
from splitlab.wire.channels import Tls, is_loopback, open_channel, require_privacy, split_address


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("localhost:1", ("localhost", 1)),
        ("0.0.0.0:50051", ("0.0.0.0", 50051)),
        ("[::1]:0", ("[::1]", 0)),
    ],
)
def test_addresses_come_apart(text: str, wanted: tuple[str, int]) -> None:
    assert split_address(text, "--listen") == wanted


@pytest.mark.parametrize(
    "text", ["", "host", ":1", "host:", "host:x", "host:65536", "::1:5", "h:²"]
)
def test_what_is_no_address_is_refused_by_its_flag(text: str) -> None:
    with pytest.raises(BadInput, match="--listen"):
        split_address(text, "--listen")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    require_privacy(host, "--server", insecure=False, tls=None)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "[::]", "10.0.0.1", "example.org", "localhost.example"]
)
def test_plaintext_off_loopback_needs_insecure_or_tls(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(BadInput, match=f"--server .*{host[1:-1]}.*--insecure"):
        require_privacy(host, "--server", insecure=False, tls=None)
    require_privacy(host, "--server", insecure=True, tls=None)
    require_privacy(host, "--server", insecure=False, tls=Tls())


def test_a_tls_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"--tls-ca .*ca.pem: {os.strerror(2)}"):
        open_channel("localhost:1", insecure=False, tls=Tls(ca=tmp_path / "ca.pem"), max_receive=1)
