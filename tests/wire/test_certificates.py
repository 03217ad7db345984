"""Certificates are looked at by their own words: what they hold, and when they are valid."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

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


OTHER = ExtendedKeyUsageOID.EMAIL_PROTECTION
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def used_for(folder: Path, *uses: x509.ObjectIdentifier) -> tuple[Path, Path]:
    """A certificate that signed itself, for these uses alone, or for every one; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "own")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(7)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    cert, secret = folder / "used.pem", folder / "used.key"
    cert.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return cert, secret


@pytest.mark.parametrize(
    ("uses", "serves", "asks"),
    [
        ((), None, None),
        ((ANY,), None, None),
        ((SERVER, CLIENT), None, None),
        ((CLIENT,), "is for clients alone .* lacks serverAuth.*give a server's", None),
        ((SERVER,), None, "is for servers alone .* lacks clientAuth.*give a client's"),
        (
            (OTHER,),
            "is for other uses .* lacks serverAuth",
            "is for other uses .* lacks clientAuth",
        ),
    ],
)
def test_a_certificate_is_shown_by_the_side_that_it_is_for(
    tmp_path: Path, uses: tuple[x509.ObjectIdentifier, ...], serves: str | None, asks: str | None
) -> None:
    tls = Tls(*used_for(tmp_path, *uses))

    def serve() -> object:
        return check_listen("127.0.0.1:0", insecure=False, tls=tls)

    def ask() -> object:
        return open_channel("localhost:1", insecure=False, tls=tls, max_receive=1)

    for call, refusal in ((serve, serves), (ask, asks)):
        if refusal is None:
            call()
        else:
            with pytest.raises(BadInput, match=rf"^--tls-cert .*used\.pem {refusal}"):
                call()
