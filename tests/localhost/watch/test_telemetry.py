"""Metrics and log lines: counts, sizes, times and codes, and no feature."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import torch
from deployments import deploy
from halves import Client, Server, images, wait_until
from typer.testing import CliRunner

from cloud_server.authority import write_certificates
from cloud_server.check import checked
from cloud_server.cli import app
from cloud_server.server import CloudServer
from edge_client.client import EdgeClient
from splitlab.capture import CaptureWriter
from splitlab.errors import BadInput, Corrupt
from splitlab.wire.messages import INFER, STREAM_INFER

Serve = Callable[..., CloudServer]


def metrics(server: CloudServer) -> dict[str, float]:
    """What Prometheus reads, by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics") as page:
        lines = page.read().decode().splitlines()
    return {
        name: float(value)
        for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    }


def test_requests_calls_stages_and_bodies_are_counted(serve: Serve) -> None:
    server = serve(Server(body_ids=[0, 1]), metrics="127.0.0.1:0")
    with EdgeClient(Client(total=2, chosen=(0, 1)), [server.address]) as client:
        result = client.infer(images(11))
    with grpc.insecure_channel(server.address) as channel:
        for wrong in (b"\xff", b"", b"abc"):
            with pytest.raises(grpc.RpcError):
                channel.unary_unary(INFER)(wrong)
    wait_until(lambda: metrics(server)["splitlab_open_calls"] == 0)
    found = metrics(server)
    assert found["splitlab_rows_total"] == 11
    assert found['splitlab_requests_total{code="OK"}'] == result.messages == 2
    assert found["splitlab_reply_bytes_total"] == pytest.approx(result.bytes_down, abs=20)
    assert 1 <= found[f'splitlab_calls_total{{code="OK",method="{STREAM_INFER}"}}'] <= 2
    for stage in ("queue", "decode", "bodies", "encode"):
        assert found[f'splitlab_stage_seconds_count{{stage="{stage}"}}'] == 2
    for body in (0, 1):
        assert found[f'splitlab_body_seconds_count{{body="{body}"}}'] == 2
    refused = sum(
        value
        for name, value in found.items()
        if name.startswith("splitlab_requests_total") and "OK" not in name
    )
    assert refused == 3
    assert found["splitlab_open_calls"] == found["splitlab_held_bytes"] == 0


def test_a_log_line_says_who_what_and_how_long_and_no_feature(serve: Serve) -> None:
    log = io.StringIO()
    server = serve(log=log)
    with EdgeClient(Client(), [server.address]) as client:
        client.infer(images(3), request_id="a" * 32)
    (line,) = map(json.loads, log.getvalue().splitlines())
    stages = {"queue_us", "decode_us", "bodies_us", "encode_us"}
    about = {"event", "time", "peer", "id", "code", "rows", "bytes_up", "bytes_down"}
    assert set(line) == about | stages | {"each_us"}
    assert list(line["each_us"]) == ["0"]
    assert (line["id"], line["code"], line["rows"]) == ("a" * 32 + "-0", "OK", 3)
    assert line["peer"].startswith("ipv4:127.0.0.1:")


def test_frames_that_the_tap_kept_and_lost_are_counted(serve: Serve, tmp_path: Path) -> None:
    told: list[str] = []
    tap = CaptureWriter(tmp_path / "tap", "server", shard_bytes=1, report=told.append)
    server = serve(tap=tap, metrics="127.0.0.1:0")
    kept, lost = "splitlab_tap_frames_total", "splitlab_tap_dropped_frames_total"
    assert (metrics(server)[kept], metrics(server)[lost]) == (0, 0)
    with EdgeClient(Client(), [server.address]) as client:
        client.infer(images(1))
        wait_until(lambda: metrics(server)[kept] == 2)
        (tmp_path / "tap").rename(tmp_path / "moved")
        (tmp_path / "tap").write_text("not a folder")
        client.infer(images(1))
        wait_until(lambda: metrics(server)[lost] == 2)
    server.stop()
    tap.close()
    assert kept not in metrics(serve(metrics="127.0.0.1:0"))  # a server without a tap


def test_refusals_without_a_token_are_counted(serve: Serve) -> None:
    server = serve(token="0123456789abcdef", metrics="127.0.0.1:0")
    with grpc.insecure_channel(server.address) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/made/up")(b"")
    assert metrics(server)['splitlab_calls_total{code="UNAUTHENTICATED",method="any"}'] == 1


def test_metrics_stay_on_loopback_and_need_a_free_port(serve: Serve) -> None:
    server = serve(metrics="127.0.0.1:0")
    with pytest.raises(BadInput, match=r"--metrics 0\.0\.0\.0: plaintext off loopback"):
        serve(metrics="0.0.0.0:0")
    with pytest.raises(BadInput, match="accept it with --metrics-open"):
        serve(metrics="0.0.0.0:0", insecure=True)
    assert metrics(serve(metrics="0.0.0.0:0", metrics_open=True))["splitlab_open_calls"] == 0
    with pytest.raises(BadInput, match=r"--metrics .*: cannot bind"):
        serve(metrics=f"127.0.0.1:{server.metrics_port}")
    with pytest.raises(BadInput, match="--metrics 'x' is not HOST:PORT"):
        serve(metrics="x")


def test_a_half_is_checked_without_a_port(tmp_path: Path) -> None:
    made = deploy(tmp_path / "deployment")
    result = CliRunner().invoke(app, [str(made / "server"), "--check"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    assert told["event"] == "checked"
    assert told["bodies"]
    assert told["largest_request_bytes"] > 0


def test_a_check_asks_whether_the_tap_can_be_written_and_leaves_nothing(tmp_path: Path) -> None:
    made = deploy(tmp_path / "deployment")

    def told(tap: Path, code: int) -> str:
        words = [str(made / "server"), "--check", "--engine", "plain", "--tap", str(tap)]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    assert '"checked"' in told(tmp_path / "tap", 0)
    assert not (tmp_path / "tap").exists()
    (tmp_path / "file").write_text("x")
    assert "give a folder that can be written" in told(tmp_path / "file", 2)
    CaptureWriter(tmp_path / "relayed", "relay").close()
    assert "holds a capture of vantage 'relay'" in told(tmp_path / "relayed", 2)
    (tmp_path / "relayed" / "capture.json").write_text("{")
    assert "capture.json" in told(tmp_path / "relayed", 2)


def test_a_check_looks_at_the_options_too(tmp_path: Path) -> None:
    """Of those the server refuses when it starts, without a port being opened."""
    made = deploy(tmp_path / "deployment")
    pem, token = tmp_path / "x.pem", tmp_path / "token"
    pem.write_text("no certificate")
    token.write_text("0123456789abcdef")
    token.chmod(0o600)

    def told(*options: str) -> str:
        words = [str(made / "server"), "--check", "--engine", "plain", *options]
        result = CliRunner().invoke(app, words)
        assert result.exit_code != 0
        return " ".join(result.output.split())

    files = ("--tls-cert", str(pem), "--tls-key", str(pem))
    assert "is not a PEM file" in told(*files)
    assert "--client-ca" in told("--client-ca", str(pem))
    assert "plaintext off loopback lets everyone" in told("--listen", "0.0.0.0:1")
    off = ("--listen", "0.0.0.0:1", "--token-file", str(token), "--insecure")
    assert "hands the token to everyone" in told(*off)
    assert "is not HOST:PORT" in told("--listen", "here")
    assert "accept it with --metrics-open" in told("--metrics", "0.0.0.0:1", "--insecure")
    pem.write_text("-----BEGIN")
    assert "holds no certificate" in told(*files)
    write_certificates(tmp_path, ["localhost"], 1)
    own = ("--tls-cert", f"{tmp_path}/server.pem", "--tls-key", f"{tmp_path}/server.key")
    assert "server.key holds a private key" in told(*own, "--client-ca", own[-1])
    half = Server()
    with torch.no_grad():
        half.bodies[0].linear.bias[0] = torch.nan
    with pytest.raises(Corrupt, match="body 0: it answers zeros with numbers that are not finite"):
        checked(half, "plain", "cpu")
    half = Server()
    half.outputs = [(6,)]
    with pytest.raises(Corrupt, match=r"it answers \[5\], \[6\] is declared"):
        checked(half, "plain", "cpu")
