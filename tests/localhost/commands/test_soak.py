"""Clients, a server that is killed and a cable that is cut: no answer is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from deployments import deploy
from typer.testing import CliRunner

from bench.cli import app
from bench.perf.soak import server as soak_server
from bench.perf.soak import soak
from bench.perf.soak.account import Account
from bench.perf.soak.server import Server, Tap
from bench.roles.launch import start
from edge_client.client import EdgeClient
from splitlab.capture.writer import CaptureWriter
from splitlab.errors import BadInput, SplitLabError


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deploy(tmp_path_factory.mktemp("soak") / "deployment")


@pytest.fixture
def _forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no memory is watched, a server need not start afresh."""
    monkeypatch.setattr(
        soak_server, "start", lambda words, **how: start(words, **{**how, "fresh": False})
    )


def soaked(deployment: Path, **given) -> soak.Soak:
    return soak.Soak(deployment, **{"log": deployment.with_name("server.log"), **given})


@pytest.mark.slow
def test_whatever_happens_no_answer_is_wrong(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = soaked(deployment, seconds=200, clients=2, pause=0.5, least=0.0)
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
    assert len(told["server_memory"]) == 2
    assert told["engine"] == "torch"


@pytest.mark.usefixtures("_forked")
def test_a_wrong_answer_is_noticed(deployment: Path) -> None:
    test = soaked(deployment, seconds=600, requests=10, clients=1, pause=20)
    test._truth = test._truth + 1
    assert test.run()["wrong"] == 10
    assert not test.account.passed


@pytest.mark.parametrize("spoil", [lambda y: y * float("nan"), lambda y: y[:1], lambda y: y[:, :1]])
def test_nan_and_missing_rows_are_wrong(deployment: Path, spoil) -> None:
    test = soaked(deployment, seconds=1)
    rows = test._truth[:5]
    assert test._right(rows.clone(), rows)
    assert not test._right(spoil(rows), rows)


@pytest.mark.usefixtures("_forked")
def test_a_request_that_crashes_is_told_of_and_the_client_goes_on(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = EdgeClient.infer, []

    def once_broken(self, images, **rest):
        calls.append(1)
        if len(calls) == 2:
            raise ValueError("a defect")
        return plain(self, images, **rest)

    monkeypatch.setattr(EdgeClient, "infer", once_broken)
    told = soaked(
        deployment, seconds=600, requests=5, clients=1, events=("cut",), pause=60, least=0.8
    ).run()
    assert (told["sent"], told["answered"], told["crashed"]) == (5, 4, {"ValueError: a defect": 1})
    assert not told["passed"]
    assert told["complaints"] == ["1 crashes: ValueError: a defect"]


@pytest.mark.slow
def test_a_client_that_hangs_is_counted_and_the_rest_is_told(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, go, calls = EdgeClient.infer, threading.Event(), []

    def hangs_once(self, images, **rest):
        calls.append(1)
        if len(calls) == 2:
            go.wait(600)
        return plain(self, images, **rest)

    monkeypatch.setattr(EdgeClient, "infer", hangs_once)
    monkeypatch.setattr(soak, "LATE_S", 1.0 - soak.DEADLINE_S)
    test = soaked(deployment, seconds=600, requests=8, clients=2, events=("cut",), pause=60)
    told = test.run()
    go.set()
    assert (told["hung"], told["sent"], told["answered"]) == (1, 8, 7)
    assert "1 clients did not end" in told["complaints"]


@pytest.mark.slow
def test_with_cuts_alone_one_server_lives_through_it(
    deployment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = soaked(deployment, seconds=60, clients=1, events=soak.parse_events("cut"), pause=0.1)
    happen = test._happen

    def three(event: str, server, cable):
        if test.account.events.total() == 3:
            test._over.set()
            return server
        return happen(event, server, cable)

    monkeypatch.setattr(test, "_happen", three)
    told = test.run()
    assert told["events"] == {"cut": 3}
    assert len(told["server_memory"]) == 1
    assert told["died"] == 0


def test_kills_come_first_and_the_last_server_lives_on(deployment: Path) -> None:
    test = soaked(deployment, seconds=100, killed_for=0.4)
    assert test.due(39.9) == ("kill",)  # every kind comes once before any comes again
    assert test.due(40.0) == ("cut",)
    test.account.events["kill"] = 1
    assert test.due(39.9) == ("cut",)
    test.account.events["cut"] = 1
    assert test.due(39.9) == ("kill", "cut")
    assert test.due(40.0) == ("cut",)
    assert soaked(deployment, seconds=100, events=("kill",)).due(41.0) == ()
    assert soaked(deployment, seconds=100, killed_for=1.0).due(99.0) == ("kill",)
    assert soaked(deployment, seconds=600).due(299.0) == ("cut",)  # five minutes are left


@pytest.mark.usefixtures("_forked")
def test_a_server_that_does_not_start_is_told_of_in_its_own_words(
    deployment: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(deployment, bare)
    test = soaked(bare, seconds=5)
    shutil.rmtree(bare / "server")
    with pytest.raises(
        SplitLabError, match=r"ended before it listened: .*server: there is no such"
    ):
        test.run()


def test_each_server_has_its_own_tap_and_its_own_words(tmp_path: Path) -> None:
    log, disk = tmp_path / "server.log", tmp_path / "disk"
    log.write_text("warning: tap: no space left for 9 bytes\n")
    writer = CaptureWriter(disk, "server")
    for call in range(3):
        writer.record(call, "up", b"abc")
    writer.close()
    (disk / "shard-000009.safetensors").write_bytes(b"half")
    taps = [_killed(disk, log, behind) for behind in (log.stat().st_size, 0)]
    assert taps == [Tap(3, None, disk_full=full) for full in (False, True)]  # whose words they are


def _killed(disk: Path, log: Path, behind: int) -> Tap | None:
    """The tap of a server whose words in the log begin there."""
    server = object.__new__(Server)
    server._disk, server._log, server._from = disk, log, behind
    server._process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    assert server.kill()
    assert not server.alive()
    return server.tap


def test_events_and_engines_that_there_are_not(deployment: Path) -> None:
    assert soak.parse_events("cut, kill") == ("cut", "kill")
    with pytest.raises(BadInput, match="give kill,cut or one"):
        soak.parse_events("cut,flood")
    with pytest.raises(BadInput, match="--engine 'steam'"):
        soaked(deployment, seconds=1, engine="steam")


def test_the_command_writes_the_account(deployment: Path, tmp_path: Path) -> None:
    words = ["soak", str(deployment), "--requests", "5", "--out", str(tmp_path / "soak.json")]
    words += ["--log", str(tmp_path / "logs" / "server.log")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "5 requests sent, 5 answered, 0 wrong" in result.output
    told = json.loads((tmp_path / "soak.json").read_text())
    assert told["answered"] == 5
    assert told["server_log"] == "server.log"
    assert (tmp_path / "logs" / "server.log").is_file()


def test_the_command_shows_the_log_where_it_fails(
    deployment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "server.log"

    def run(_self):
        log.write_text("warning: tap: [no] room\n")
        tap = Tap(1, None, disk_full=True)
        return {**Account(sent=9, answered=9, died=1, taps=[tap]).as_dict(), "server_log": log.name}

    monkeypatch.setattr(soak.Soak, "run", run)
    result = CliRunner().invoke(app, ["soak", str(deployment), "--log", str(log)])
    assert result.exit_code == 1
    shown = " ".join(result.output.split())
    assert "tap of server 1: 1 frames kept, others lost with it; the disk was full" in shown
    assert "FAILED: 1 servers ended by themselves" in shown
    assert shown.endswith("ends: warning: tap: [no] room")


def test_answers_that_are_drawn_cannot_be_compared(tmp_path: Path) -> None:
    noisy = deploy(tmp_path / "noisy", defense="gaussian:level=0.1")
    with pytest.raises(BadInput, match="without noise and with wire FP32"):
        soaked(noisy, seconds=1)
    with pytest.raises(BadInput, match="without noise and with wire FP32"):
        soaked(deploy(tmp_path / "narrow", wire="INT8"), seconds=1)


@pytest.mark.slow
def test_a_full_disk_under_the_tap_costs_no_answer(deployment: Path, tmp_path: Path) -> None:
    small = tmp_path / "disk"
    small.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        told = soaked(deployment, seconds=60, requests=300, clients=2, pause=600, disk=small).run()
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert told["answered"] == told["sent"] == 300
    assert told["wrong"] == 0
    assert told["taps"][0]["dropped"] > 0
    assert told["taps"][0]["disk_full"]
