"""The simulated link against the kernel's rate limiter, an independent relay's delay, and what the
kernel's TCP makes of a cable that loses packets.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deployments import Process, deploy, environment, pictures
from hosts import Hosts, OnHost, why_not

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
WITHIN = 0.15
RELAY = Path(__file__).with_name("delay_relay.py")


def words(
    world: tuple[Path, Path], address: str, batch: int, *options: str, repeat: int = 5
) -> list[str]:
    deployment, photos = world
    to = ("--server", address, "--insecure", *options)
    return [
        *("-m", "edge_client", str(deployment / "client"), *to, "evaluate"),
        *("--dataset", f"imagefolder:{photos}", "--partition", "train", "--batch", str(batch)),
        *("--repeat", str(repeat), "--json"),
    ]


def told(words: list[str]) -> dict[str, Any]:
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    account: dict[str, Any] = json.loads(done.stdout)
    return account


def predicted(
    world: tuple[Path, Path], link: str, batch: int, *, repeat: int = 5
) -> dict[str, Any]:
    with Process(*serve(world, "127.0.0.1:0")) as server:
        near = f"127.0.0.1:{server.listening()['port']}"
        return told([sys.executable, *words(world, near, batch, "--link", link, repeat=repeat)])


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
            measured = told(hosts.words("client", *words(world, address, batch)))
            if relay is not None:
                relay.kill()
                relay.communicate()
    link = f"rtt={rtt_ms}ms,up={up}mbps,down={down}mbps"
    found = predicted(world, link, batch)
    ratio = found["latency"]["total"]["p50"] / measured["latency"]["total"]["p50"]
    print(f"{link}: {found['latency']['total']} against {measured['latency']['total']}")
    assert ratio == pytest.approx(1, abs=WITHIN)


@pytest.mark.skipif(not Path("/dev/net/tun").exists(), reason="no /dev/net/tun here")
@pytest.mark.parametrize(
    ("rtt_ms", "up", "down", "loss", "batch"),
    [(40, 10, 10, 0, 8), (40, 10, 10, 1, 8), (20, 20, 20, 3, 8), (100, 5, 5, 2, 2)],
)
def test_losses_cost_as_much_as_they_cost_tcp(
    world: tuple[Path, Path], rtt_ms: int, up: float, down: float, loss: float, batch: int
) -> None:
    """Means, as what a loss costs is rare and large."""
    with Hosts((rtt_ms / 1000, up * 1e6, down * 1e6, loss / 100)) as hosts:
        address = f"{hosts.server}:50051"
        with OnHost(hosts, "server", *serve(world, address)) as server:
            server.listening()
            measured = told(hosts.words("client", *words(world, address, batch, repeat=10)))
    link = f"rtt={rtt_ms}ms,up={up}mbps,down={down}mbps,loss={loss}%"
    found = predicted(world, link, batch, repeat=10)
    means = [1000 * batch / one["images_per_second"] for one in (found, measured)]
    print(f"{link}: {means[0]:.1f} ms against {means[1]:.1f} ms, {found['requests']} requests")
    assert means[0] == pytest.approx(means[1], rel=WITHIN)
