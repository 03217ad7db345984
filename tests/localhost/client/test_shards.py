"""A server's part of the bodies: what loads, what is announced, and that their order is sealed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from deployments import deploy
from typer.testing import CliRunner

from cloud_server.cli import app as cloud
from cloud_server.server import CloudServer
from defenses import parse
from edge_client.client import EdgeClient
from splitlab.deployment import ClientHalf, ServerHalf, ServerManifest, split_server
from splitlab.errors import BadInput, Corrupt, Mismatch
from splitlab.storage import read_tensors, sha256, write_tensors


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(tmp_path_factory.mktemp("d"), bodies=3, chosen=(2, 0))


@pytest.fixture
def server(deployment: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(deployment / "server", tmp_path / "server")


def test_a_part_holds_the_same_bodies_and_the_same_digest(deployment: Path) -> None:
    whole = ServerHalf.load(deployment / "server")
    part = ServerHalf.load(deployment / "server", bodies=[2, 0])
    assert whole.body_ids == [0, 1, 2]
    assert part.body_ids == [0, 2]
    assert part.outputs == [whole.outputs[0], whole.outputs[2]]
    assert part.digest == whole.digest
    z = torch.rand(2, *whole.feature.shape)
    answers = [body(z) for body in whole.bodies]
    assert not torch.equal(answers[0], answers[2])
    for given, wanted in zip(part.bodies, (answers[0], answers[2]), strict=True):
        assert torch.equal(given(z), wanted)


def test_shards_that_are_not_needed_may_be_absent(server: Path) -> None:
    (server / "shard-1.safetensors").unlink()
    assert ServerHalf.load(server).body_ids == [0, 2]
    assert ServerHalf.load(server, [2]).body_ids == [2]
    with pytest.raises(Corrupt, match=r"shard-1.safetensors: there is no such file"):
        ServerHalf.load(server, [0, 1])
    (server / "shard-0.safetensors").write_bytes(b"damaged")
    assert ServerHalf.load(server, [2]).body_ids == [2]
    with pytest.raises(Corrupt, match=r"shard-0.safetensors: its bytes are not those"):
        ServerHalf.load(server)
    for path in server.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(Corrupt, match="none of its 3 shards is there"):
        ServerHalf.load(server)


@pytest.mark.parametrize(
    ("bodies", "words"),
    [
        ([], "give at least one body"),
        ([0, 3], "there is no body 3, this deployment has 0 to 2"),
        ([-1], "there is no body -1"),
        ([1, 1], "--bodies 1,1: give each body once"),
    ],
)
def test_bodies_that_are_none(deployment: Path, bodies: list[int], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        ServerHalf.load(deployment / "server", bodies)


def edited(server: Path, change: Any, *, sealed: bool) -> None:
    """Change the manifest; `sealed` computes its digest anew, as a forger would."""
    path = server / "deployment.json"
    content = json.loads(path.read_text())
    change(content["shards"])
    if sealed:
        content["digest"] = ServerManifest.model_validate(content).computed_digest()
    path.write_text(json.dumps(content))


def swap(field: str) -> Any:
    def change(shards: list[dict[str, Any]]) -> None:
        shards[0][field], shards[1][field] = shards[1][field], shards[0][field]

    return change


def test_two_shard_files_that_change_places_are_refused(server: Path) -> None:
    one, two = server / "shard-0.safetensors", server / "shard-1.safetensors"
    one.rename(server / "x")
    two.rename(one)
    (server / "x").rename(two)
    with pytest.raises(Corrupt, match=r"shard-0.safetensors: its bytes are not those"):
        ServerHalf.load(server)


@pytest.mark.parametrize("field", ["bodies", "file"])
def test_two_bodies_that_change_places_in_the_manifest_are_refused(
    server: Path, field: str
) -> None:
    edited(server, swap(field), sealed=False)
    with pytest.raises(Corrupt, match="its digest does not fit it"):
        ServerHalf.load(server)


def test_bodies_in_another_order_answer_otherwise_and_do_not_belong_to_the_client(
    deployment: Path, server: Path
) -> None:
    """A forger who writes everything anew makes a whole server half, but another one."""
    for new, old in ((0, 1), (1, 0)):
        held = read_tensors(deployment / "server" / f"shard-{old}.safetensors")
        moved = {f"{new}.{key.partition('.')[2]}": value for key, value in held.items()}
        write_tensors(server / f"shard-{new}.safetensors", moved)

    def rehash(shards: list[dict[str, Any]]) -> None:
        for shard in shards:
            shard["sha256"] = sha256((server / shard["file"]).read_bytes())

    edited(server, rehash, sealed=True)
    forged, true = ServerHalf.load(server), ServerHalf.load(deployment / "server")
    client = ClientHalf.load(deployment / "client", parse)
    z = torch.rand(2, *true.feature.shape)
    outputs = [[body(z) for body in half.bodies] for half in (true, forged)]
    assert torch.equal(outputs[1][1], outputs[0][0])
    logits = [client.tail(client.selector(each)) for each in outputs]
    assert float((logits[0] - logits[1]).abs().max()) > 1e-3
    running = CloudServer(forged, "127.0.0.1:0", engine="plain")
    running.start()
    with (
        EdgeClient(client, [running.address]) as edge,
        pytest.raises(Mismatch, match="use the two halves of one deployment"),
    ):
        edge.handshake()
    running.stop(quiet=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda shards: shards.pop(), r"its shards hold bodies \[0, 1\], 3 exist"),
        (lambda shards: shards[0].update(bodies=[0, 1]), r"hold bodies \[0, 1, 1, 2\], 3 exist"),
        (lambda shards: shards[0].update(file="../x"), "'../x' does not lie beside it"),
    ],
)
def test_shards_that_make_no_deployment(server: Path, change: Any, words: str) -> None:
    edited(server, change, sealed=True)
    with pytest.raises(Corrupt, match=words):
        ServerHalf.load(server)


def test_a_server_s_part_is_copied_alone(deployment: Path, tmp_path: Path) -> None:
    out = tmp_path / "part"
    words = ["split", str(deployment / "server"), "--bodies", "2,0", "--out", str(out)]
    told = CliRunner().invoke(cloud, words)
    assert told.exit_code == 0, told.output
    assert "2 of 3 bodies" in told.output
    names = {path.name for path in out.iterdir()}
    assert names == {"deployment.json", "shard-0.safetensors", "shard-2.safetensors"}
    assert ServerHalf.load(out).body_ids == [0, 2]
    assert ServerHalf.load(out).digest == ServerHalf.load(deployment / "server").digest
    again = CliRunner().invoke(cloud, words)
    assert again.exit_code == 2
    assert "a deployment is there already" in again.output


def test_a_shard_with_several_bodies_is_not_torn_apart(server: Path, tmp_path: Path) -> None:
    parts = [read_tensors(server / f"shard-{i}.safetensors") for i in (0, 1)]
    write_tensors(server / "shard-0.safetensors", parts[0] | parts[1])

    def join(shards: list[dict[str, Any]]) -> None:
        shards.pop(1)
        shards[0].update(
            bodies=[0, 1], sha256=sha256((server / "shard-0.safetensors").read_bytes())
        )

    edited(server, join, sealed=True)
    assert ServerHalf.load(server, [1]).body_ids == [1]
    with pytest.raises(BadInput, match=r"shard-0.safetensors holds body 1 too"):
        split_server(server, tmp_path / "out", [0])
    assert not (tmp_path / "out").exists()
    split_server(server, tmp_path / "out", [0, 1])
    assert ServerHalf.load(tmp_path / "out").body_ids == [0, 1]


@pytest.mark.parametrize("text", ["a", "0,,1", "0 1", "-1"])
def test_bodies_that_cannot_be_read(deployment: Path, text: str) -> None:
    told = CliRunner().invoke(cloud, [str(deployment / "server"), f"--bodies={text}"])
    assert told.exit_code == 2
    assert "give numbers with commas, such as 0,2" in " ".join(told.output.split())
