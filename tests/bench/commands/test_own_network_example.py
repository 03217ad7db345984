"""`examples/own_network/README.md`: its commands, one after another, in a copy of the folder."""

import contextlib
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
from checks import ended_well
from deployments import environment
from own_networks import forget

from adversary.cli import app as adversary
from bench.cli import app as bench
from cloud_server.cli import app as cloud_server
from edge_client.cli import app as edge_client
from splitlab.contracts import own_code
from splitlab.errors import NotImported
from splitlab.record import RecordStore
from splitlab.storage import read_json, read_tensors

pytestmark = pytest.mark.example
EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "own_network"
APPS = {"bench": bench, "adversary": adversary, "edge-client": edge_client}


def commands():
    """The words of every command in the code blocks."""
    text = (EXAMPLE / "README.md").read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.S | re.M)
    lines = [re.sub(r"\\\n\s*", "", block) for block in blocks]
    return [shlex.split(line) for block in lines for line in block.splitlines()]


def script(file, words):
    """`python FILE WORDS`."""
    with pytest.MonkeyPatch.context() as patch:
        forget(patch, "doorbell")
        patch.setattr(sys, "argv", [file, *words])
        patch.syspath_prepend(".")
        runpy.run_path(file, run_name="__main__")


def role(name, words):
    """As a process of its own, which has imported nothing of the network."""
    with pytest.MonkeyPatch.context() as patch:
        forget(patch, "doorbell")
        return ended_well(APPS[name], words)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where all of it was done, and what each command said, the first two words its name."""
    folder = tmp_path_factory.mktemp("example") / "own_network"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    said = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as serving:
        in_process.stand_in(patch)
        patch.chdir(folder)
        for name, *words in commands():
            if name == "python":
                script(words[0], words[1:])
            elif name == "cloud-server":
                with pytest.MonkeyPatch.context() as fresh:
                    forget(fresh, "doorbell")
                    checked = [*words, "--check", "--engine=plain"]
                    said[name] = ended_well(cloud_server, checked)
                    tap = folder / "capture"
                    address = serving.enter_context(in_process.serving(Path(words[0]), tap))
            elif name == "edge-client":
                words[words.index("--server") + 1] = address
                said[name] = role(name, words)
                serving.close()
            else:
                out = words[words.index("--out") + 1] if "--out" in words else words[1]
                said[f"{words[0]} {out}"] = role(name, words)
        yield folder, said
    for module in [name for name in sys.modules if name.partition(".")[0] == "doorbell"]:
        del sys.modules[module]


def test_every_command_of_the_readme_ran(place):
    _, said = place
    assert sum(name != "python" for name, *_ in commands()) == len(said)
    assert '"event": "checked"' in said["cloud-server"]
    assert "stages.3" in said["splits doorbell.network:DoorbellNet:width=12"]
    assert (
        '"name": "stages.2"'
        in said["splits doorbell.network:DoorbellNet:width=12,blocks=[1, 1, 2]"]
    )


def test_the_checkpoint_is_used_as_it_was_trained(place):
    folder, said = place
    accuracy = float(re.search(r"accuracy ([\d.]+) %", said["edge-client"])[1])
    assert accuracy > 60  # of four classes; another normalisation, or order of classes, gets less
    manifest = read_json(folder / "runs/doorbell/client/deployment.json")
    assert manifest["arch"]["name"] == "doorbell.network:DoorbellNet"
    assert manifest["arch"]["arguments"] == {"width": 12}
    assert manifest["arch"]["input"]["mean"] == [0.5] * 3


def test_the_sweep_has_its_records(place):
    folder, said = place
    assert "Recommended split point" in said["sweep-split-points runs/sweep"]
    records = RecordStore(folder / "runs/sweep").all()
    assert len(records) == 2
    assert {record.config["model"] for record in records} == {
        "doorbell.network:DoorbellNet:width=12"
    }
    assert all(record.utility["relative_error"] < 1e-5 for record in records)


def test_a_frozen_backbone_stays_and_a_new_last_layer_learns(place):
    folder, _ = place
    old = read_tensors(folder / "runs/doorbell/training/weights.safetensors")
    new = read_tensors(folder / "runs/new/training/weights.safetensors")
    same = {name for name in old if old[name].equal(new[name])}
    frozen = {name for name in old if name.startswith(("stem.", "stages.0."))}
    assert frozen <= same
    assert "classifier.weight" not in same


def test_an_adversary_was_granted_the_head_and_attacked(place):
    folder, said = place
    assert "reconstructions by rmle" in said["attack estimate"]
    assert len(read_json(folder / "estimate/estimate.json")["ids"]) == 10


def test_without_its_module_named_nothing_of_it_is_imported(place, monkeypatch):
    from splitlab.deployment import ServerHalf

    folder, _ = place
    monkeypatch.chdir(folder)
    forget(monkeypatch, "doorbell")
    assert own_code.permitted() == ()
    with pytest.raises(NotImported, match=r"add --import doorbell.network$"):
        ServerHalf.load(folder / "runs/doorbell/server")
    assert "doorbell" not in sys.modules


@pytest.mark.slow
def test_the_commands_as_processes(tmp_path):
    """Client and server as a sweep starts them, its latency and estimates too."""
    folder = tmp_path / "own_network"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    env = environment() | {"PYTHONPATH": str(EXAMPLE.parents[1])}
    for name, *words in commands():
        if name == "python" or words[0] == "sweep-split-points":
            start = [sys.executable] if name == "python" else [sys.executable, "-c", CONSOLE]
            done = subprocess.run(
                [*start, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
    assert "Recommended split point" in done.stdout
    run = folder / "runs/sweep"
    assert len(RecordStore(run).all()) == 2
    assert RecordStore(run).latencies()


CONSOLE = "import sys; sys.path[0] = sys.prefix; from bench.cli import app; app()"
"""As a console script begins: the working directory is not searched."""
