"""The simulated link against the kernel's rate limiter and an independent relay's delay."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from deployments import Process, deploy, environment, pictures
from hosts import Hosts, OnHost, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
WITHIN = 0.15
RELAY = Path(__file__).with_name("delay_relay.py")


def words(world: tuple[Path, Path], address: str, batch: int, *options: str) -> list[str]:
    deployment, photos = world
    to = ("--server", address, "--insecure", *options)
    return [
        *("-m", "edge_client", str(deployment / "client"), *to, "evaluate"),
        *("--dataset", f"imagefolder:{photos}", "--partition", "train", "--batch", str(batch)),
        *("--repeat", "5", "--json"),
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("links")
    return deploy(root / "deployment"), pictures(root / "photos", each=64)


def serve(world: tuple[Path, Path], listen: str) -> tuple[str, ...]:
    half = str(world[0] / "server")
    return ("-m", "cloud_server", half, "--listen", listen, "--insecure", "--engine", "plain")


@pytest.mark.parametrize(
    ("rtt_ms", "up", "down", "batch"),
    [(0, 10, 50, 64), (0, 50, 2, 64), (40, 20, 20, 8), (40, 10, 50, 64)],
)
def test_what_is_predicted_is_measured(
    world: tuple[Path, Path], rtt_ms: int, up: float, down: float, batch: int
) -> None:
    with Hosts() as hosts:
        hosts.shape("client", up)
        hosts.shape("server", down)
        address = f"{hosts.server}:50051"
        with OnHost(hosts, "server", *serve(world, address)) as server:
            server.listening()
            relay = None
            if rtt_ms:
                delay = (str(RELAY), address, str(rtt_ms / 2000))
                relay = subprocess.Popen(
                    hosts.words("client", *delay), stdout=subprocess.PIPE, text=True
                )
                address = f"127.0.0.1:{relay.stdout.readline().strip()}"
            done = subprocess.run(
                hosts.words("client", *words(world, address, batch)),
                capture_output=True,
                text=True,
                env=environment(),
            )
            if relay is not None:
                relay.kill()
                relay.communicate()
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    link = f"rtt={rtt_ms}ms,up={up}mbps,down={down}mbps"
    with Process(*serve(world, "127.0.0.1:0")) as server:
        near = f"127.0.0.1:{server.listening()['port']}"
        done = subprocess.run(
            [sys.executable, *words(world, near, batch, "--link", link)],
            capture_output=True,
            text=True,
            env=environment(),
        )
    assert done.returncode == 0, done.stderr
    predicted = json.loads(done.stdout)
    ratio = predicted["latency"]["total"]["p50"] / measured["latency"]["total"]["p50"]
    print(f"{link}: {predicted['latency']['total']} against {measured['latency']['total']}")
    assert ratio == pytest.approx(1, abs=WITHIN)
