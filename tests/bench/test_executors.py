"""Points side by side: what several deployments share is made once, before any waits for it."""

from functools import partial
from pathlib import Path

import pytest
from records import record
from test_labs import lab, point

from bench import executors
from bench.executors import SideBySide
from bench.point import data_notes
from bench.point.recipe import validated
from bench.sweep.sweep import Sweep


@pytest.fixture
def shared(monkeypatch):
    """(what is done, the places of its jobs), in order; nothing is done."""
    seen = []

    def side_by_side(do, jobs, **_):
        assert isinstance(do, partial)
        seen.append((do.func, [job[0].place for job in jobs]))
        yield from ()

    monkeypatch.setattr(executors, "side_by_side", side_by_side)
    return seen


def outcomes(made, points):
    return list(SideBySide(2).outcomes(made, points))


def test_a_victim_that_several_deployments_share_is_trained_first(shared, tmp_path):
    made = lab(tmp_path / "run")
    shared_by = [point("block1", place="a"), point("block2", place="b", wire="INT8")]
    alone = point(place="c", train_images=65)
    defended = point(place="d", defense="single:level=0.1")
    outcomes(made, [*shared_by, alone, defended])
    assert shared[0] == (executors._victim, ["a"])
    assert shared[1] == (executors._ready, ["a", "b", "c", "d"])
    assert len(shared) == 3


def test_a_victim_that_is_there_or_is_of_one_deployment_is_not(shared, tmp_path, monkeypatch):
    made = lab(tmp_path / "run")
    outcomes(made, [point(place="a"), point(place="b", train_images=65)])
    monkeypatch.setattr(made.__class__, "has_victim", lambda *_: True)
    outcomes(made, [point(place="a"), point(place="b")])
    assert [done for done, _ in shared] == [executors._ready, executors._beside] * 2


def test_records_without_lpips_are_told_of_where_its_weights_come_later(tmp_path, monkeypatch):
    """A record is not written again, and the folder of weights is no part of what a point is."""
    without, folder = record(), Path("weights")
    told = data_notes.lacking([without, None], folder)
    assert told[0].startswith("1 finished records were made without all of LPIPS's weights")
    assert data_notes.lacking([without], None) == ()
    number = without.leakage["psnr"]
    leakage = {**without.leakage, "lpips_alex": number, "lpips_squeeze": number}
    assert data_notes.lacking([without.model_copy(update={"leakage": leakage})], folder) == ()
    monkeypatch.setattr(Sweep, "_finished", lambda _: {"a point": without})
    config = validated(model="tiny_cnn", splits="block1", train_images=64, victims=8)
    sweep = Sweep(tmp_path / "run", config, lpips_weights=folder)
    sweep.close()
    assert told[0] in sweep.notes
