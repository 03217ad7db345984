"""`adversary attack`, killed and started again."""

import contextlib
import json

import pytest
import torch
from test_attack_images import granted, run, tapped
from worlds import Killed, Watch

from adversary.contract.grant import write_grant
from splitlab.storage import read_tensors

QUICK = {
    "images": 24,
    "synthesis_steps": 4,
    "synthesis_batch": 12,
    "epochs": 2,
    "tune_epochs": 1,
    "batch_size": 12,
}


@pytest.fixture
def place(tmp_path):
    threat = granted()
    write_grant(tmp_path / "grant", threat)
    tapped(tmp_path / "capture", threat.head)
    return tmp_path


def attack(place, out, watch, monkeypatch, **settings):
    @contextlib.contextmanager
    def showing(_console):
        yield watch

    monkeypatch.setattr("splitlab.training.showing", showing)
    words = [f"--set={field}={value}" for field, value in {**QUICK, **settings}.items()]
    words += ["--attack", "dci", "--out", place / out]
    return run("attack", place / "capture", "--knows", place / "grant", *words)


def test_a_killed_attack_repeats_no_finished_block(place, monkeypatch):
    whole = Watch()
    assert attack(place, "whole", whole, monkeypatch).exit_code == 0
    assert whole.names == ["synthesis", "block 1 A", "block 2 A", "block 2 B"]
    killed = attack(place, "out", Watch(kill_at="block 2 B"), monkeypatch)
    assert isinstance(killed.exception, Killed)
    again = Watch()
    done = attack(place, "out", again, monkeypatch)
    assert done.exit_code == 0, done.output
    assert "block 1 A" not in again.names
    found = read_tensors(place / "out" / "reconstructions.safetensors")
    wanted = read_tensors(place / "whole" / "reconstructions.safetensors")
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    # what was unfinished is gone
    names = {".writer.lock", "estimate.json", "reconstructions.png", "reconstructions.safetensors"}
    assert {path.name for path in (place / "out").iterdir()} == names
    assert json.loads((place / "out" / "estimate.json").read_text())["extra"]["from_shelf"] == 1


def test_another_setting_does_not_go_on_from_there(place, monkeypatch):
    attack(place, "out", Watch(kill_at="block 2 B"), monkeypatch)
    other = Watch()
    assert attack(place, "out", other, monkeypatch, learning_rate=0.02).exit_code == 0
    assert "block 1 A" in other.names
    assert not list((place / "out").glob("fit-*"))  # those of the killed one are gone too
