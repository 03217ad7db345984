"""An estimate in words: a line, and a table of its stages."""

import io

import pytest
from rich.console import Console

from splitlab.estimating import Forecast


def made(taken, missing=(), points=12, of="points"):
    return Forecast.of_stages(
        points, {"scoring": taken - 1, "nothing": 0.0, "latency": 1.0}, 3 << 29, missing, of
    )


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        (45.0, "45 seconds"),
        (400.0, "7 minutes"),
        (7140.0, "119 minutes"),
        (7300.0, "2 hours"),
        (2 * 86400.0, "2 days"),
    ],
)
def test_a_line(taken, words):
    told = made(taken, ("attack dci", "attack dci")).told()
    assert told == f"12 points, about {words}, not counting attack dci, about 1.5 GiB of memory"


def test_one_is_not_several():
    told = made(30.0, points=1, of="deployments").told()
    assert told == "1 deployment, about 30 seconds, about 1.5 GiB of memory"


@pytest.mark.parametrize(
    ("count", "words"), [(1, "the point is finished"), (1200, "all 1,200 points are finished")]
)
def test_nothing_left(count, words):
    told = Forecast(0, (), 2**30, finished=count)
    assert told.told() == f"{words}; only tables and the page are written"
    assert told.document()["finished"] == count


def test_a_table_for_a_dry_run_alone():
    shown = {}
    for dry in (False, True):
        file = io.StringIO()
        made(45.4, ["attack dci"]).show(Console(file=file, width=80), dry)
        shown[dry] = file.getvalue()
    assert len(shown[False].splitlines()) == 1
    rows = [line.split() for line in shown[True].splitlines()[1:]]
    assert ["scoring", "44"] in rows
    assert ["latency", "1"] in rows
    assert ["attack", "dci", "not", "counted"] in rows
    assert ["in", "all", "45"] in rows
    assert "nothing" not in shown[True]
