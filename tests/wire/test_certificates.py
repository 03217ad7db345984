"""Certificates are looked at by their own words: what they hold, and when they are valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from cloud_server.authority import write_certificates
from splitlab.errors import BadInput
from splitlab.wire.certificates import check_authority, check_own
from splitlab.wire.channels import Tls, check_listen, open_channel

Check = Callable[..., None]
DAMAGED = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pem")
    write_certificates(folder, ["localhost"], 1)
    (folder / "damaged.pem").write_text(DAMAGED)
    (folder / "cut.pem").write_text((folder / "ca.pem").read_text()[:200])
    (folder / "half.pem").write_text((folder / "ca.pem").read_text() + DAMAGED)
    (folder / "words.pem").write_text("-----BEGIN WORDS-----\n")
    return folder


def valid(path: Path) -> tuple[datetime, datetime]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


WRONG = [
    ("server.key", "holds a private key; give the certificate of the authority"),
    ("words.pem", "holds no certificate; give the certificate of the authority"),
    ("damaged.pem", "holds a certificate that cannot be read"),
    ("cut.pem", "holds a certificate that cannot be read"),
    ("half.pem", "holds a certificate that cannot be read"),
]


@pytest.mark.parametrize(("name", "words"), WRONG)
def test_an_authority_that_is_none_is_named_by_its_flag_on_either_side(
    made: Path, name: str, words: str
) -> None:
    told = f"{name} {words}"
    own = made / "server.pem", made / "server.key"
    with pytest.raises(BadInput, match=f"^--client-ca .*{told}"):
        check_listen("127.0.0.1:0", insecure=False, tls=Tls(*own, made / name))
    with pytest.raises(BadInput, match=f"^--tls-ca .*{told}"):
        open_channel("localhost:1", insecure=False, tls=Tls(ca=made / name), max_receive=1)


def test_what_is_valid_passes(made: Path) -> None:
    check_authority(made / "ca.pem", "--tls-ca")
    check_own(made / "server.pem", "--tls-cert")
    tls = Tls(made / "server.pem", made / "server.key", made / "ca.pem")
    assert check_listen("127.0.0.1:0", insecure=False, tls=tls) is not None


@pytest.mark.parametrize("check", [check_authority, check_own])
def test_dates_to_the_second(made: Path, check: Check) -> None:
    path, second = made / "ca.pem", timedelta(seconds=1)
    first, last = valid(path)
    for now in (first, last):
        check(path, "--tls-ca", now)
    with pytest.raises(BadInput, match=rf"ca\.pem expired on {last:%Y-%m-%d}.*make-certificates"):
        check(path, "--tls-ca", last + second)
    with pytest.raises(BadInput, match=rf"not valid before {first:%Y-%m-%d}.*clock"):
        check(path, "--tls-ca", first - second)


def test_of_several_authorities_one_must_be_valid(made: Path, tmp_path: Path) -> None:
    write_certificates(tmp_path, ["localhost"], 900)
    both = tmp_path / "both.pem"
    both.write_bytes((made / "ca.pem").read_bytes() + (tmp_path / "ca.pem").read_bytes())
    sooner, later = valid(made / "ca.pem")[1], valid(tmp_path / "ca.pem")[1]
    check_authority(both, "--tls-ca", sooner + timedelta(days=1))
    with pytest.raises(BadInput, match="expired on"):
        check_authority(both, "--tls-ca", later + timedelta(days=1))


def test_of_a_chain_the_first_is_shown(made: Path, tmp_path: Path) -> None:
    write_certificates(tmp_path, ["localhost"], 900)
    chain, end = tmp_path / "chain.pem", valid(made / "server.pem")[1]
    chain.write_bytes((tmp_path / "server.pem").read_bytes() + (made / "ca.pem").read_bytes())
    check_own(chain, "--tls-cert", end + timedelta(days=1))
    chain.write_bytes((made / "server.pem").read_bytes() + (tmp_path / "ca.pem").read_bytes())
    with pytest.raises(BadInput, match="expired on"):
        check_own(chain, "--tls-cert", end + timedelta(days=1))


def test_both_sides_ask_for_today(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, _zone: object = None) -> datetime:  # type: ignore[override]
            return datetime(2999, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("splitlab.wire.certificates.datetime", Later)
    own = made / "server.pem", made / "server.key"
    with pytest.raises(BadInput, match=r"--tls-cert .*server\.pem expired on"):
        check_listen("127.0.0.1:0", insecure=False, tls=Tls(*own))
    with pytest.raises(BadInput, match=r"--tls-ca .*ca\.pem expired on"):
        open_channel("localhost:1", insecure=False, tls=Tls(ca=made / "ca.pem"), max_receive=1)
