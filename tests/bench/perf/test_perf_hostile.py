"""`bench perf hostile`: what passes, what does not, and that it runs."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from bench.cli import app
from bench.perf.hostile import hostile
from bench.perf.hostile.hostile import ALONE, ask, counts_of, whole
from bench.perf.hostile.peers import HOSTILE_PEERS
from bench.perf.hostile.raw_http2 import Sent
from bench.perf.hostile.row import Hostile, Resident, Treatment
from bench.perf.serving.scenes import deployed, pixels
from splitlab.errors import ServerRefused

STEADY = Treatment(at=[0.5, 1.5, 2.5], seconds=[0.002, 0.004, 0.006])
FINE = Hostile(
    seconds=3.1,
    sent=Sent(4, 512, 9000),
    refused={"crowded": 300},
    calls={"OK": 3},
    asked=STEADY,
    memory=Resident(280.0, 300.0, 360.0, 332.0),
    alive=True,
    alone=None,
)


def test_a_server_that_answers_every_second_and_keeps_no_memory_passes():
    row = FINE.as_dict()
    assert (row["ratio"], row["ok"]) == (1.0, True)
    assert row["request"]["p50_ms"] == pytest.approx(4.0)
    assert row["sent"] == {"connections": 4, "calls": 512, "bytes": 9000, "reset": 0}
    assert row["longest_wait_s"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "ratio"),
    [
        ({"alive": False}, 0.0),
        ({"asked": replace(STEADY, wrong=1)}, 0.0),
        ({"memory": Resident(299.0, 300.0, 340.0, 332.1)}, 0.0),
        ({"asked": Treatment(at=[0.5, 2.5], seconds=[0.1, 0.1])}, 2 / 3),
        ({"asked": Treatment(failed=Counter(ServerRefused=9))}, 0.0),
    ],
)
def test_what_does_not_pass(change, ratio):
    row = replace(FINE, **change).as_dict()
    assert row["ratio"] == pytest.approx(ratio)
    assert not row["ok"]


def test_memory_that_the_system_does_not_tell_is_no_failure():
    row = replace(FINE, memory=None).as_dict()
    assert (row["memory_is_flat"], row["resident_mib"], row["ok"]) == (None, None, True)


def test_silence_is_measured_from_the_beginning_to_the_end():
    assert Treatment(at=[2.0, 3.0]).longest_wait(3.5) == 2.0
    assert Treatment(at=[0.5, 1.0]).longest_wait(4.0) == 3.0
    assert Treatment().longest_wait(4.0) == 4.0
    assert Treatment(at=[0.1, 0.9, 1.2, 5.0]).answered_seconds(3) == 2


def test_counts_are_read_by_reason_and_by_code():
    text = """# TYPE splitlab_refusals_total counter
splitlab_refusals_total{reason="idle"} 2.0
splitlab_refusals_total{reason="calls"} 0.0
# TYPE splitlab_calls_total counter
splitlab_calls_total{code="OK",method="a"} 3.0
splitlab_calls_total{code="OK",method="b"} 4.0
"""
    assert counts_of(text) == {"refusals": {"idle": 2, "calls": 0}, "calls": {"OK": 7}}


def test_wrong_and_failed_answers_are_told_apart():
    over = threading.Event()
    wanted = torch.tensor([[1.0, -2.0]])
    given = [wanted, wanted + 1e-5, wanted + 1e-2, wanted * float("nan"), None, wanted]
    turns = itertools.count()

    def infer(_question):
        turn = next(turns)
        if turn == len(given) - 1:
            over.set()
        if given[turn] is None:
            raise ServerRefused("full; come again")
        return SimpleNamespace(logits=given[turn])

    asked = ask(SimpleNamespace(infer=infer), [wanted], [wanted], over)
    assert (len(asked.seconds), len(asked.at), asked.wrong) == (5, 5, 2)
    assert asked.failed == {"ServerRefused": 1}
    assert asked.first_failure == "full; come again"


def test_answers_to_different_questions_are_different():
    """Else one that belongs to another request would not be found out."""
    with deployed(1, hostile.SCENE) as made:
        answers = [whole(made, x) for x in hostile.questions()]
    for one, other in itertools.combinations(answers, 2):
        assert (one - other).abs().max() > 10 * hostile.TOLERANCE * one.abs().max()
    assert hostile.questions()[-1].equal(pixels(1))


def test_a_row_that_misses_fails_the_command(monkeypatch):
    dead = replace(FINE, alive=False).as_dict()
    monkeypatch.setattr(hostile, "perf_hostile", lambda _seconds: {"garbage": dead})
    done = CliRunner().invoke(app, ["perf", "hostile"])
    assert done.exit_code == 2
    assert "garbage: 0.00x is below the limit 1.00x" in " ".join(done.output.split())


@pytest.mark.slow
def test_the_server_stands_every_attack(tmp_path):
    before, out = torch.get_num_threads(), tmp_path / "hostile.json"
    done = CliRunner().invoke(app, ["perf", "hostile", "--seconds", "1", "--out", str(out)])
    torch.set_num_threads(before)
    rows = json.loads(out.read_text())
    assert set(rows) == {ALONE, *HOSTILE_PEERS, "environment"}
    assert done.exit_code == 0, done.output
    for name in HOSTILE_PEERS:
        assert rows[name]["sent"]["connections"] > 0
        assert rows[name]["wrong"] == 0
    assert rows["slow-loris"]["refused"]["crowded"] > 0
    assert rows["over the size"]["refused"]["unread"] > 0
