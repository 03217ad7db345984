"""Clients, a server that is killed and a cable that is cut: no answer is wrong."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from deployments import deploy
from typer.testing import CliRunner

from bench import soak
from bench.cli import app
from splitlab.errors import BadInput


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(tmp_path_factory.mktemp("soak") / "deployment")


@pytest.mark.slow
def test_whatever_happens_no_answer_is_wrong(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = soak.Soak(deployment, seconds=200, clients=2, pause=0.5)
    happen, wanted = test._happen, ["kill", "cut"]

    def in_turn(_event: str, server, cable):
        if not wanted:
            test._over.set()
            return server
        return happen(wanted.pop(0), server, cable)

    monkeypatch.setattr(test, "_happen", in_turn)
    told = test.run()
    assert told["passed"]
    assert told["wrong"] == 0
    assert told["sent"] == told["answered"] + sum(told["failed"].values())
    assert told["events"] == {"kill": 1, "cut": 1}
    assert len(told["server_memory_mib"]) == 2


def test_a_wrong_answer_is_noticed(deployment: Path) -> None:
    test = soak.Soak(deployment, seconds=30, requests=10, clients=1, pause=20)
    test._truth = test._truth + 1
    assert test.run()["wrong"] == 10
    assert not test.account.passed


def test_the_command_writes_the_account(deployment: Path, tmp_path: Path) -> None:
    words = ["soak", str(deployment), "--requests", "5", "--out", str(tmp_path / "soak.json")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "5 requests sent, 5 answered, 0 wrong" in result.output
    assert json.loads((tmp_path / "soak.json").read_text())["answered"] == 5


def test_answers_that_are_drawn_cannot_be_compared(tmp_path: Path) -> None:
    noisy = deploy(tmp_path / "noisy", defense="gaussian:level=0.1")
    with pytest.raises(BadInput, match="without noise and with wire FP32"):
        soak.Soak(noisy, seconds=1)
    with pytest.raises(BadInput, match="without noise and with wire FP32"):
        soak.Soak(deploy(tmp_path / "narrow", wire="INT8"), seconds=1)


@pytest.mark.slow
def test_a_full_disk_under_the_tap_costs_no_answer(deployment: Path, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        told = soak.Soak(
            deployment, seconds=60, requests=300, clients=2, pause=600, disk=small
        ).run()
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert told["answered"] == told["sent"] == 300
    assert told["wrong"] == 0
    assert told["tap"]["dropped"] > 0
