"""Client and server on hosts of their own; the cable is cut, the server killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from deployments import deploy, network, pictures
from hosts import Hosts, OnHost, why_not

from splitlab.capture import Capture
from splitlab.data import load_splits
from splitlab.storage import read_json, read_tensors

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]
SEEN = 15  # requests answered when something happens
REPEATS = 40


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts() as made:
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("hosts")
    return deploy(root / "deployment"), pictures(root / "photos", each=8)


def serve(hosts: Hosts, deployment: Path, port: int, *more: str) -> OnHost:
    listen = f"{hosts.server}:{port}"
    words = ("-m", "cloud_server", str(deployment / "server"), "--listen", listen)
    server = OnHost(hosts, "server", *words, "--insecure", "--engine", "plain", *more)
    assert server.listening()["port"] == port
    return server


def evaluating(hosts: Hosts, world: tuple[Path, Path], out: Path, *options: str) -> OnHost:
    deployment, photos = world
    to = ("--server", f"{hosts.server}:50051", "--insecure", *options)
    client = OnHost(
        *(hosts, "client", "-m", "edge_client", str(deployment / "client"), *to),
        *("evaluate", "--dataset", f"imagefolder:{photos}", "--batch", "1"),
        *("--repeat", str(REPEATS), "--hold", "--out", str(out)),
    )
    assert json.loads(client.line())["event"] == "ready"
    client.go()
    return client


def answered(server: OnHost, count: int) -> None:
    """Wait until the server has logged so many answers."""
    for _ in range(count):
        assert json.loads(server.said())["code"] == "OK"


def right(world: tuple[Path, Path], out: Path) -> None:
    """Every image was answered once a turn, as the whole network answers it."""
    account = read_json(out / "evaluation.json")
    _, photos = world
    victims = load_splits(f"imagefolder:{photos}", size=16, seed=0).victims
    with torch.no_grad():
        wanted = network()(victims.images.float() / 255)
    given = read_tensors(out / "logits.safetensors")["logits"]
    assert torch.allclose(given, wanted, atol=1e-5)
    assert account["images"] == len(victims)
    rows = Counter(read_json(out / "join.json")["rows"].values())
    assert rows == dict.fromkeys(range(len(victims)), REPEATS)
    assert account["accuracy"] == pytest.approx(
        100 * float((wanted.argmax(1) == victims.labels).float().mean())
    )


def test_a_cable_that_is_cut_and_put_back_costs_time_alone(
    hosts: Hosts, world: tuple[Path, Path], tmp_path: Path
) -> None:
    deployment, _ = world
    tap = tmp_path / "tap"
    with (
        serve(hosts, deployment, 50051, "--log-requests", "--tap", str(tap)) as server,
        evaluating(hosts, world, tmp_path / "out") as client,
    ):
        answered(server, SEEN)
        hosts.cut()
        told = client.said()
        assert "warning: 10.77.0.1:50051 has not answered for 3 s; waiting, at most 30 s" in told
        hosts.restore()
        code, err = client.ended()
        assert code == 0, err
        assert "warning: 10.77.0.1:50051 answers again" in err
        server.terminate()
        server.ended()
    right(world, tmp_path / "out")
    ids = Counter(
        (exchange.request_id, exchange.first_row) for exchange in Capture.open(tap).exchanges()
    )
    assert set(ids.values()) == {1}


def test_a_server_that_is_killed_and_started_again_is_found_again(
    hosts: Hosts, world: tuple[Path, Path], tmp_path: Path
) -> None:
    deployment, _ = world
    with serve(hosts, deployment, 50051, "--log-requests") as server:
        client = evaluating(hosts, world, tmp_path / "out", "--retries", "12")
        with client:
            answered(server, SEEN)
            server.kill()
            assert "warning: 10.77.0.1:50051 fails (UNAVAILABLE)" in client.said()
            with serve(hosts, deployment, 50051):
                code, err = client.ended()
    assert code == 0, err
    assert "warning: 10.77.0.1:50051 answers again" in err
    right(world, tmp_path / "out")
    assert read_json(tmp_path / "out" / "evaluation.json")["retries"] >= 1


def test_a_cable_that_stays_cut_ends_in_words(
    hosts: Hosts, world: tuple[Path, Path], tmp_path: Path
) -> None:
    deployment, _ = world
    with (
        serve(hosts, deployment, 50051, "--log-requests") as server,
        evaluating(hosts, world, tmp_path / "out", "--deadline", "1", "--retries", "1") as client,
    ):
        answered(server, SEEN)
        hosts.cut()
        code, err = client.ended()
    assert code == 3
    assert "10.77.0.1:50051 did not answer within 1 s" in err
    assert not (tmp_path / "out" / "evaluation.json").exists()
