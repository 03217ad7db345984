"""Command lines: bad input ends with one line that names it and a non-zero exit."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from deployments import deploy, pictures
from typer.testing import CliRunner

from adversary.tap.cli import tap
from cloud_server.cli import app as cloud
from cloud_server.server import CloudServer
from edge_client import transport
from edge_client.cli import app as edge
from splitlab.deployment import ServerHalf


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(tmp_path_factory.mktemp("d"))


def refused(app: typer.Typer, *words: object, code: int = 2) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_a_server_on_a_port_that_is_taken(deployment: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = (deployment / "server", "--listen", address, "--tap", tmp_path / "tap")
        assert f"error: --listen {address}: cannot bind" in refused(cloud, *words)
        assert not (tmp_path / "tap").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--listen", "0.0.0.0:0"), "plaintext off loopback"),
        (("--listen", "nowhere"), "'nowhere' is not HOST:PORT"),
        (("--listen", "127.0.0.1:0", "--engine", "fast"), "--engine 'fast'"),
        (("--listen", "127.0.0.1:0", "--tls-cert", "x.pem"), "give both --tls-cert and --tls-key"),
        (("--tls-cert", "x.pem", "--tls-key", "y"), "--tls-cert x.pem: No such file"),
        (("--token-file", "x.token"), "--token-file x.token: No such file"),
    ],
)
def test_bad_options_of_the_server(deployment: Path, words: tuple[str, ...], message: str) -> None:
    assert message in refused(cloud, deployment / "server", *words)


def test_damaged_and_wrong_halves(deployment: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in refused(cloud, tmp_path / "none")
    for app, own, other in ((cloud, "server", "client"), (edge, "client", "server")):
        ask = () if app is cloud else ("--server", "127.0.0.1:1", "infer", "x.png")
        told = refused(app, deployment / other, *ask)
        assert f"is the {other} half, and the {own} half is wanted; give DEPLOYMENT/{own}" in told
        assert f"one half is wanted; give {deployment / own}" in refused(app, deployment, *ask)
    damaged = deploy(tmp_path / "damaged")
    shard = damaged / "server" / "shard-0.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "shard-0.safetensors" in refused(cloud, damaged / "server")


def test_options_of_the_connection_are_told_as_others_are() -> None:
    assert "'--retries': -1: wanted at least 0" in refused(
        edge, "half", "--retries", -1, "infer", "x"
    )
    late = refused(edge, "half", "infer", "--server", "127.0.0.1:1", "x.png")
    assert "--server stands before 'infer'" in late
    assert "No such option: --nothing" in refused(edge, "half", "infer", "--nothing", "x.png")


def test_nobody_there_is_exit_code_3(deployment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_PAUSE_S", 0.001)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    words = (deployment / "client", "--server", address, "--retries", "1", "infer", "x.png")
    message = refused(edge, *words, code=3)
    assert f"error: {address} does not answer after 2 attempts" in message
    assert "is cloud-server running there" in message


def test_options_may_stand_before_and_after_the_half(deployment: Path) -> None:
    for words in (
        (deployment / "client", "--server", "10.0.0.1:1", "infer", "x.png"),
        ("--server", "10.0.0.1:1", deployment / "client", "infer", "x.png"),
    ):
        assert "--server 10.0.0.1: plaintext off loopback" in refused(edge, *words)
    message = refused(edge, deployment / "client", "infer", "x.png")
    assert "--server: give HOST:PORT of at least one server" in message
    assert "--repeat" in refused(edge, deployment / "client", "evaluate", "--help", code=0)
    assert "--repeat" in refused(edge, "evaluate", "--help", code=0)
    assert "--deadline" in refused(edge, "--help", code=0)


def test_an_authority_that_is_none_is_no_matter_of_the_server(
    deployment: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("-----BEGIN PRIVATE KEY-----")
    to = ("--server", "127.0.0.1:1", "--tls-ca", wrong, "infer", "x.png")
    assert f"error: --tls-ca {wrong} holds a private key" in refused(
        edge, deployment / "client", *to
    )


def test_a_data_set_that_does_not_fit(deployment: Path, tmp_path: Path) -> None:
    server = CloudServer(ServerHalf.load(deployment / "server"), "127.0.0.1:0", engine="plain")
    server.start()
    words = (deployment / "client", "--server", server.address, "evaluate", "--dataset")
    assert "unknown data set" in refused(edge, *words, "cifar11").lower().replace(
        "dataset", "data set"
    )
    photos = pictures(tmp_path / "photos")
    message = refused(edge, *words, f"imagefolder:{photos}", "--partition", "victim")
    assert "unknown partition 'victim'; nearest: victims" in message
    assert "take" in refused(edge, *words, f"imagefolder:{photos}", "--size", "20")
    for part in ("train", "test"):
        (photos / part / "dogs").rename(photos / part / "horses")
    assert "cats, horses" in refused(edge, *words, f"imagefolder:{photos}")
    server.stop(5, quiet=0)


def test_the_relay_on_a_port_that_is_taken(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(tap)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ("--listen", address, "--upstream", "127.0.0.1:1", "--record", tmp_path)
        assert "cannot bind" in refused(app, *words)
        assert "cannot bind" in refused(app, *words[:-1], tmp_path / "raw" / "below", "--raw")
    assert list(tmp_path.iterdir()) == []
    words = ("--listen", "127.0.0.1:0", "--upstream", "10.0.0.1:1", "--record", tmp_path / "far")
    assert "--upstream 10.0.0.1: plaintext off loopback" in refused(app, *words)


def test_help_does_not_pay_for_torch() -> None:
    code = (
        "import json, sys, cloud_server.cli, edge_client.cli\n"
        "print(json.dumps([m for m in ('torch', 'grpc', 'numpy') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(done.stdout) == []
