"""`bench train` with Ensembler writes an ordinary deployment; killed, it continues."""

import json

import pytest
import torch
from typer.testing import CliRunner

import defenses
from bench.cli import app
from splitlab.deployment import ClientHalf, ServerHalf
from splitlab.randomness import KeyedDraw
from splitlab.split import part_state
from splitlab.storage import read_tensors

DEFENSE = "ensembler:N=3,P=2+gaussian:level=0.1,draw=fixed"
WORDS = [
    "train",
    "--model",
    "tiny_cnn",
    "--split",
    "block1",
    "--train-images",
    "64",
    "--epochs",
    "1",
]
HERE = [*WORDS, "--device", "cpu", "--defense", DEFENSE]


def run(*words):
    return CliRunner().invoke(app, [*HERE, *map(str, words)])


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    out = tmp_path_factory.mktemp("ensembler") / "d"
    done = run("--tail-start", "pool", "--out", out)
    assert done.exit_code == 0, done.output
    return out


def test_it_is_an_ordinary_deployment(deployment):
    client = ClientHalf.load(deployment / "client", defenses.parse)
    server = ServerHalf.load(deployment / "server")
    assert len(server.bodies) == len(client.outputs) == client.selector.total == 3
    assert len(client.selector.chosen) == 2
    assert client.manifest.defense.startswith("ensembler:N=3,P=2,weight=1.0+gaussian")
    draw = KeyedDraw(client.secret, "id")
    with torch.inference_mode():
        z = client.protect(client.head(torch.rand(2, 3, 32, 32)), draw)
        logits = client.tail(client.select([body(z) for body in server.bodies], draw))
    assert logits.shape == (2, len(client.classes))


def test_the_server_half_has_the_bodies_of_stage_one_and_nothing_secret(deployment):
    for number in range(3):
        held = read_tensors(deployment / "server" / f"shard-{number}.safetensors")
        trained = read_tensors(deployment / "training" / f"network-{number}.safetensors")
        for key, value in held.items():
            assert torch.equal(value, trained[f"body.{key.partition('.')[2]}"])
    secret = json.loads((deployment / "client" / "secret.json").read_text())
    text = (deployment / "server" / "deployment.json").read_text()
    for word in (secret["key"], "chosen", "ensembler", "selector", "gaussian"):
        assert word not in text
    for path in (deployment / "training").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_a_run_without_deployment_goes_on_from_its_stages(deployment, tmp_path):
    """As after a kill before the halves were written: the same secret, nothing trained again."""
    out = tmp_path / "d"
    (out / "training").mkdir(parents=True)
    for path in (deployment / "training").iterdir():
        (out / "training" / path.name).write_bytes(path.read_bytes())
    done = run("--tail-start", "pool", "--out", out)
    assert done.exit_code == 0, done.output
    assert "network 0" not in done.output
    one, two = (ClientHalf.load(d / "client", defenses.parse) for d in (deployment, out))
    assert one.secret == two.secret
    assert one.selector == two.selector
    a, b = part_state(one.tail), part_state(two.tail)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert one.digest != two.digest, "each deployment has an id of its own"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--defense", "ensembler:N=2,P=3"], "P=3 of N=2 bodies"),
        (["--defense", "ensembler:weight=-0.5"], "weight='-0.5'"),
        (["--defense", "dropout-ensemble:N=2"], "give --tail-start"),
        (["--defense", "ensembler:N=2,P=1", "--weights", "w.pth"], "--weights"),
    ],
)
def test_bad_input_is_told_before_anything_is_trained(tmp_path, words, message):
    done = run("--out", tmp_path / "d", *words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())
    assert not (tmp_path / "d").exists()
