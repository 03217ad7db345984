"""Every defence, with a tail on the client or none, on every network, over real processes.

Each is trained, served, asked, captured, granted and attacked, and swept; wires and attacks take
turns. An hour on two cores; pairs of small networks are tried in `test_defences_on_networks.py`.
"""

import contextlib
import itertools
import subprocess

import pytest
import rows
from all_pairs import product
from checks import Roles, check, ended_well
from deployments import environment, pictures
from typer.testing import CliRunner

import bench.sweep.sweep
from bench.cli import app
from bench.roles.launch import ServerProcess, command
from splitlab.record import RecordStore

FACTORS = {
    "command": ("all", "sweep"),
    "network": tuple(rows.NETWORKS),
    "defence": rows.DEFENCES,
    "tail": (False, True),
}
TURNS = itertools.cycle(itertools.product(rows.WIRES, rows.ATTACKS))
ROWS = [
    {**row, "wire": wire, "attack": attack}
    for row, (wire, attack) in zip(product(FACTORS, rows.fits), TURNS, strict=False)
]


@contextlib.contextmanager
def serving(half, tap):
    with ServerProcess(half, tap, tap.parent / "server.log") as server:
        yield server.address()


def edge_client(words):
    words = command("edge_client", *words)
    done = subprocess.run(words, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


ROLES = Roles(serving, edge_client, "torch")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("photos"), each=12)


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=rows.name)
def test_whole_product(row, photos, tmp_path):
    check(row, photos, tmp_path, ROLES)


@pytest.mark.slow
def test_a_sweep_that_ended_after_its_training_continues(photos, tmp_path, monkeypatch):
    """Deployed, then a traceback, as where a tail was an adapter; nothing is trained again."""
    row = {"network": "tiny_cnn", "defence": rows.ALL_BODIES, "tail": False, "wire": "FP32"}
    words = rows.sweep_words({**row, "attack": "decoder"}, photos, tmp_path)

    def breaks(*_):
        raise RuntimeError("Setting requires_grad=True on inference tensor")

    with monkeypatch.context() as patch:
        patch.setattr(bench.sweep.sweep, "undefended", breaks)
        assert isinstance(CliRunner().invoke(app, words).exception, RuntimeError)
    kept = {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("points/*/deployment/*/*.safe*")
    }
    assert kept
    ended_well(app, words)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    records = RecordStore(tmp_path).all()
    assert {record.config["knowledge"] for record in records} == {"adaptive", "unaware"}
    assert all(record.utility["accuracy_whole"] >= 0 for record in records)
