"""`--engine auto` with engines that fail, and how many copies of the bodies it holds."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloud_server.engines import choose
from cloud_server.engines.choose import ENGINE_KINDS
from cloud_server.engines.contract import EngineKind, EngineTask, Outputs, Runner
from cloud_server.engines.engine import Engine
from splitlab.errors import BadInput


def broken(error: Exception, *, built: bool) -> EngineKind:
    """An engine that fails when it is built, or at its first batch."""

    def make(_: EngineTask) -> Runner:
        if not built:
            raise error

        def run(_: Tensor) -> Outputs:
            raise error

        return run

    return EngineKind(make)


BROKEN = {
    "unlinked": broken(ImportError("libx.so.1: no such file\nsecond line"), built=False),
    "odd": broken(RuntimeError("it fell over"), built=True),
}


def test_auto_passes_over_what_fails_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "ENGINE_KINDS", {**BROKEN, "plain": ENGINE_KINDS["plain"]})
    engine = Engine([nn.Identity()], (3,), name="auto")
    engine.close()
    assert engine.name == "plain"
    assert engine.chosen.passed_over == {
        "unlinked": "it failed (ImportError: libx.so.1: no such file)",
        "odd": "it failed (RuntimeError: it fell over)",
    }
    monkeypatch.setattr(choose, "ENGINE_KINDS", BROKEN)
    with pytest.raises(BadInput, match=r"--engine auto: none can be used: .*it fell over"):
        Engine([nn.Identity()], (3,), name="auto")


def test_an_engine_asked_for_by_name_fails_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "ENGINE_KINDS", {**ENGINE_KINDS, "openvino": BROKEN["odd"]})
    with pytest.raises(
        BadInput, match=r"--engine openvino: it failed \(RuntimeError: it fell over\)"
    ):
        Engine([nn.Identity()], (3,), name="openvino")


def test_auto_keeps_no_engine_but_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, weakref.ref[Any]] = {}
    alive: dict[str, set[str]] = {}

    def kind(name: str) -> EngineKind:
        def make(task: EngineTask) -> Runner:
            alive[name] = {other for other, held in made.items() if held() is not None}
            copied = copy.deepcopy(task.bodies[0])
            made[name] = weakref.ref(copied)
            return lambda feature: ([copied(feature)], ())

        return EngineKind(make)

    seconds = iter([3.0, 9.0, 1.0, 4.0, 2.0, 5.0, 4.0, 9.0])  # one row, many, of each
    monkeypatch.setattr(choose, "seconds", lambda _run, _example: next(seconds))
    monkeypatch.setattr(choose, "ENGINE_KINDS", {name: kind(name) for name in "abcd"})
    engine = Engine([nn.Identity()], (3,), name="auto")
    engine.close()
    assert engine.name == "b"
    assert alive == {"a": set(), "b": {"a"}, "c": {"b"}, "d": {"b"}}


@pytest.mark.parametrize(
    ("usual", "swift", "told"),
    [
        (2.0, ["quick", "quick", "wide", "wide"], "quick for up to 2 rows, wide for more"),
        (9.0, ["quick", "wide", "wide", "wide"], "quick for a single row, wide for more"),
    ],
)
def test_auto_keeps_one_for_few_rows_and_one_for_many_where_both_pay(
    monkeypatch: pytest.MonkeyPatch, usual: float, swift: list[str], told: str
) -> None:
    """Seconds by rows: one, the usual two, and the eight that may go together."""
    speeds = {
        "quick": {1: 1.0, 2: usual, 8: 20.0},
        "slow": {1: 5.0, 2: 5.0, 8: 21.0},
        "wide": {1: 3.0, 2: 4.0, 8: 8.0},
    }
    ran: list[str] = []
    names: dict[Runner, str] = {}

    def kind(name: str) -> EngineKind:
        def make(task: EngineTask) -> Runner:
            def run(feature: Tensor) -> Outputs:
                ran.append(name)
                return [body(feature) for body in task.bodies], ()

            names[run] = name
            return run

        return EngineKind(make)

    monkeypatch.setattr(choose, "ENGINE_KINDS", {name: kind(name) for name in speeds})
    monkeypatch.setattr(choose, "seconds", lambda run, z: speeds[names[run]][len(z)])
    engine = Engine([nn.Identity()], (3,), name="auto", rows=2, together=8)
    ran.clear()
    for rows in (1, 2, 3, 8):
        engine.run(torch.zeros(rows, 3))
    engine.close()
    assert ran == swift
    facts = engine.chosen.as_facts()
    assert (facts["engine"], facts["arranged"]) == ("quick, wide", told)
    assert facts["engines_ms"]["wide"] == {"1 row": 3000.0, "8 rows": 8000.0}
    speeds["wide"][1] = 1.09  # one copy of the bodies is enough
    engine = Engine([nn.Identity()], (3,), name="auto", rows=2, together=8)
    engine.close()
    assert engine.name == "wide"
    assert "arranged" not in engine.chosen.as_facts()


def test_auto_says_what_it_measures_before_and_what_came_of_it(capsys, monkeypatch):
    few = {name: ENGINE_KINDS[name] for name in ("plain", "folded")}
    monkeypatch.setattr(choose, "ENGINE_KINDS", few)
    bodies = [torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.Flatten()).eval()]
    choose.choose("auto", EngineTask(bodies, torch.rand(2, 2, 6, 6), torch.device("cpu"), 1))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("engine auto: measures plain, folded")
    assert "with 1 and 2 rows; about" in lines[0]
    assert any(line.startswith("engine auto: folded, ") and "ms" in line for line in lines[1:])
