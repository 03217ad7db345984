"""An estimate before a sweep: counted rightly from its measurements, printed, and nothing left."""

import re

import pytest
from typer.testing import CliRunner

import bench.estimate as estimating
from bench.cli import app
from bench.estimate import Estimate, _at, estimate
from bench.recipe import SweepConfig
from defenses import parse
from splitlab.contracts import ArchSpec
from splitlab.models import build
from splitlab.split import split_points

ARCH = ArchSpec(name="tiny_cnn", classes=5)
POINTS = list(split_points(build(ARCH, seed=0), (3, 32, 32)))[:2]


@pytest.fixture
def fixed(monkeypatch):
    """A step of 10 ms, a start of 3 s."""
    monkeypatch.setattr(estimating, "_seconds", lambda _: 0.01)
    monkeypatch.setattr(estimating, "start_seconds", lambda: 3.0)


def seconds(config, plans, pending, *, trains=False, judges=False):
    found = estimate(
        config,
        parse(config.defense),
        POINTS,
        ARCH,
        pending=pending,
        plans=plans,
        pairs=320,
        trains=trains,
        judges=judges,
    )
    return found.seconds


@pytest.mark.usefixtures("fixed")
def test_every_part_is_counted_once():
    config = SweepConfig(model="tiny_cnn", train_images=320, attacked={"rmle": 8})
    starts = 2 * 2 * 3.0
    assert seconds(config, ["mean-image"], 2) == pytest.approx(starts)
    trained = 2 * 320 * 0.01 / 32
    assert seconds(config, ["mean-image"], 2, trains=True) == pytest.approx(starts + trained)
    judged = 3 * 320 * 0.01 / 32
    assert seconds(config, ["mean-image"], 2, judges=True) == pytest.approx(starts + judged)
    decoder = 2 * 3 * 320 * 0.01 / 32
    assert seconds(config, ["decoder"], 2) == pytest.approx(starts + decoder)
    one = 0.01 / 2 / 8
    rmle = 2 * one * (300 * 8 + 12 * 100 * 2)
    assert seconds(config, ["rmle"], 2) == pytest.approx(starts + rmle)
    assert seconds(config, ["decoder", "rmle"], 2) == pytest.approx((starts + decoder + rmle) / 2)


@pytest.mark.usefixtures("fixed")
def test_a_second_wire_doubles_and_what_is_done_is_not_counted():
    one = SweepConfig(model="tiny_cnn")
    both = SweepConfig(model="tiny_cnn", wires=("INT8",))
    assert seconds(both, ["decoder"], 4) == pytest.approx(2 * seconds(one, ["decoder"], 2))
    assert seconds(one, ["decoder"], 0) == 0


def test_between_measured_points_it_is_interpolated():
    places = [_at(range(9), n) for n in range(9)]
    assert [places[n] for n in (0, 4, 8)] == [(n, n, 0) for n in (0, 4, 8)]
    assert [places[1], places[7]] == [(0, 4, 0.25), (4, 8, 0.75)]
    assert _at(range(1), 0) == (0, 0, 0)


@pytest.mark.parametrize(
    ("taken", "words"), [(45.0, "about 45 seconds"), (400.0, "about 7 minutes")]
)
def test_in_words(taken, words):
    told = Estimate(12, taken, 3 << 29, ("attack dci",)).told()
    assert told == f"12 points, {words}, not counting attack dci, about 1.5 GiB of memory"


def test_a_dry_run_says_it_and_leaves_nothing(tmp_path):
    out = tmp_path / "run"
    words = ["sweep-split-points", f"--out={out}", "--model=tiny_cnn", "--splits=block1,block3"]
    done = CliRunner().invoke(app, [*words, "--dry-run", "--device=cpu"])
    assert done.exit_code == 0, done.output
    assert re.search(r"4 points, about \d+ (seconds|minutes), .*, about \d+\.\d GiB", done.output)
    assert not out.exists()
