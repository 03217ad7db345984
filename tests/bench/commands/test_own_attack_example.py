"""`examples/own_attack`: installed beside the lab, listed, run in a sweep, scored, recorded."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import in_process
import pytest
from made import example, on_path
from typer.testing import CliRunner

from bench.cli import app
from splitlab.record import RecordStore
from splitlab.storage import read_json

pytestmark = pytest.mark.example
ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "own_attack"
WORDS = (
    *("sweep-split-points", "--model=tiny_cnn", "--splits=1", "--epochs=0", "--device=cpu"),
    *("--train-images=64", "--queries=96", "--validation=16", "--victims=24"),
    *("--attack=ridge", "--attack=mean-image"),
)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path(monkeypatch, *example("own_attack", tmp_path / "site"))


@pytest.mark.usefixtures("installed")
def test_its_own_tests_pass() -> None:
    """Those of its folder, the lab's rules among them."""
    tests = runpy.run_path(str(EXAMPLE / "tests" / "test_ridge.py"))
    for mark in tests["test_the_contract"].pytestmark:
        for rule in mark.args[1]:
            tests["test_the_contract"](rule)
    for name, test in tests.items():
        if name.startswith("test_") and name != "test_the_contract":
            test()


@pytest.mark.usefixtures("installed")
def test_a_sweep_takes_it_and_scores_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_process.stand_in(monkeypatch)
    run = tmp_path / "run"
    shown = CliRunner().invoke(app, ["sweep-split-points", "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    done = CliRunner().invoke(app, [*WORDS, f"--out={run}"])
    assert done.exit_code == 0, f"{done.output[-2000:]}\n{done.exception!r}"
    found = {record.config["attack"]: record for record in RecordStore(run).all()}
    ridge, floor = found["ridge"], found["mean-image"]
    (told,) = ridge.config["packages"].items()
    assert told[0] == "attack ridge"
    assert re.fullmatch(r"own-attack 0\.1\.0, code [0-9a-f]{12}", told[1])
    assert "packages" not in floor.config
    assert ridge.leakage["psnr"].mean > floor.leakage["psnr"].mean + 1
    assert ridge.attack_facts["learned_from"] == "queries to the client"
    assert not any("the attack failed" in doubt for doubt in ridge.doubts)
    assert "ridge" in (run / "report.html").read_text()


@pytest.mark.slow
def test_installed_by_pip_as_its_readme_says(tmp_path: Path) -> None:
    """Into a folder, from no registry; then help, sweep, attack and its tests, as commands."""
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    build = [*pip, "--no-build-isolation", "--target", str(site), str(_copy(tmp_path))]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]), "COLUMNS": "200"}
    run = tmp_path / "run"

    def told(*words: str, folder: Path = tmp_path) -> str:
        done = subprocess.run(
            words, cwd=folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    told(*build)
    assert "beside them: ridge" in told(sys.executable, "-m", "bench", WORDS[0], "--help")
    told(sys.executable, "-m", "bench", *WORDS, f"--out={run}")
    assert {record.config["attack"] for record in RecordStore(run).all()} == {"ridge", "mean-image"}
    place = next((run / "points").iterdir())
    grant = [
        "grant",
        str(place / "deployment"),
        "--head",
        "--aux=64",
        f"--out={tmp_path / 'grant'}",
    ]
    told(sys.executable, "-m", "bench", *grant)
    words = ["attack", str(place / "capture"), f"--knows={tmp_path / 'grant'}", "--attack=ridge"]
    told(sys.executable, "-m", "adversary", *words, f"--out={tmp_path / 'estimate'}")
    said = read_json(tmp_path / "estimate" / "estimate.json")
    assert said["package"] == "own-attack 0.1.0"
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    assert "[100%]" in told(sys.executable, *tests, f"--rootdir={tmp_path}")


def _copy(folder: Path) -> Path:
    """Its sources, as building leaves files beside them."""
    import shutil

    left = shutil.ignore_patterns("__pycache__", "build", "*.egg-info", ".pytest_cache")
    return Path(shutil.copytree(EXAMPLE, folder / "own_attack", ignore=left))
