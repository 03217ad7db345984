"""Who is stronger: differences, which of ours stands, and words whose answers are known."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.perf.attacks import table
from bench.perf.attacks.compare import compared, difference, standing, word_for
from bench.perf.attacks.ours import OURS
from bench.perf.attacks.peers.listed import PEERS
from bench.perf.attacks.readings import READINGS, readings_table
from bench.perf.attacks.records import AttackRow, Measured
from bench.perf.attacks.settings import ComparisonSettings
from bench.perf.attacks.table import (
    CSV,
    NONE_FINISHED,
    SUMMARY,
    lines_of,
    rich_lines,
    summary_of,
    verdict_told,
    write_summary,
)
from splitlab.console import VisibleConsole
from splitlab.errors import BadInput
from splitlab.metrics import Interval

VICTIMS = (10.0, 40.0, 20.0, 30.0)
ORDER = ("strong", "a", "quick")


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One peer and one of ours are all that there are."""
    monkeypatch.setattr(table, "contenders", lambda: ("loop", "a"))
    monkeypatch.setattr(table, "ours_in_order", lambda: ("a",))
    monkeypatch.setattr(table, "asking", lambda: frozenset())


def ours(
    name: str,
    psnr: tuple[float, ...],
    *,
    seconds: float = 5.0,
    seed: int = 0,
    groups: tuple[int, ...] = (0, 1, 2, 3),
) -> AttackRow:
    reading = Measured(None, seconds, None, psnr, tuple(one / 100 for one in psnr))
    own: dict[str, Any] = {"kind": "ours", "groups": groups, "yardstick": 0.2}
    return AttackRow("deep", seed, name, settings={}, readings=(reading,), **own)


def peer(*at: tuple[float, tuple[float, ...]], seed: int = 0, name: str = "loop") -> AttackRow:
    readings = tuple(
        Measured(budget, budget, 1, psnr, tuple(one / 100 for one in psnr)) for budget, psnr in at
    )
    own: dict[str, Any] = {"kind": "peer", "groups": (0, 1, 2, 3), "yardstick": 0.2}
    return AttackRow("deep", seed, name, settings={}, readings=readings, **own)


def settings(**changes: Any) -> ComparisonSettings:
    given: dict[str, Any] = {
        "model": "resnet20",
        "dataset": "photo-patches",
        "data": "0" * 64,
        "size": 32,
        "weights_hash": None,
        "network": "1" * 64,
        "victims": 4,
        "auxiliary": 8,
        "validation": 4,
        "budgets": (10.0, 60.0),
        "splits": ("deep",),
        "seeds": (0,),
        "contenders": ("a", "loop"),
    }
    return ComparisonSettings(**{**given, **changes})


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((1.0, 0.1, 2.0), "stronger"),
        ((1.0, 0.0, 2.0), "at least as strong"),
        ((1.0, -0.5, 2.0), "at least as strong"),
        ((0.0, -0.5, 0.5), "at least as strong"),
        ((-0.2, -0.5, 0.1), "not told apart"),
        ((-0.2, -0.5, 0.0), "not told apart"),
        ((-1.0, -2.0, -0.1), "weaker"),
        ((0.3, None, None), "at least as strong"),
        ((-0.3, None, None), "weaker"),
    ],
)
def test_a_word_for_each_interval(interval: tuple[float, Any, Any], word: str) -> None:
    assert word_for(Interval(*interval)) == word


def test_victims_are_paired() -> None:
    """Victims differ by 30 dB among themselves, ours by half a decibel from the peer's on each."""
    better = tuple(one + 0.5 for one in VICTIMS)
    found = difference([(ours("a", better), peer((10.0, VICTIMS)))], 10.0, "psnr")
    assert (found.ours, found.peer) == (25.5, 25.0)
    assert found.interval == pytest.approx((0.5, 0.5, 0.5))
    assert found.word == "stronger"
    swapped = difference([(ours("a", better[::-1]), peer((10.0, VICTIMS)))], 10.0, "psnr")
    assert swapped.interval.mean == pytest.approx(0.5)
    assert swapped.interval.low < 0 < swapped.interval.high  # type: ignore[operator]


def test_seeds_are_put_together_and_copies_count_once() -> None:
    worse = tuple(one - 1 for one in VICTIMS)
    pairs = [
        (ours("a", VICTIMS), peer((10.0, worse))),
        (ours("a", worse, seed=1), peer((10.0, VICTIMS), seed=1)),
    ]
    found = difference(pairs, 10.0, "psnr")
    # Each victim was drawn twice, once better and once worse: of each the mean is nothing.
    assert found.interval == pytest.approx((0.0, 0.0, 0.0))
    one = ours("a", VICTIMS, groups=(7, 7, 7, 7))
    rival = peer((10.0, worse))
    with pytest.raises(BadInput, match="measured on other victims"):
        difference([(one, rival)], 10.0, "psnr")


def test_equal_images_are_at_least_as_strong() -> None:
    exact = (100.0,) * 4
    found = difference([(ours("a", exact), peer((10.0, exact)))], 10.0, "psnr")
    assert (found.word, found.interval.mean) == ("at least as strong", 0.0)


def test_no_image_chooses() -> None:
    """The first of the list stands, however little it reads and in whichever order rows are."""
    lucky, first = ours("quick", (90.0,) * 4), ours("strong", (20.0,) * 4)
    for rows in ([lucky, first], [first, lucky]):
        assert standing(rows, 10.0, ORDER) == "strong"
        [line] = compared(rows, [peer((10.0, (50.0,) * 4))], [10.0], ORDER)
        assert (line.ours, line.weaker) == ("strong", True)


def test_what_is_not_finished_in_time_does_not_count() -> None:
    rows = [
        ours("quick", VICTIMS, seconds=8),
        ours("quick", VICTIMS, seconds=9, seed=1),
        ours("strong", VICTIMS, seconds=9.5),
        ours("strong", VICTIMS, seconds=10.5, seed=1),
    ]
    stood = [standing(rows, budget, ORDER) for budget in (8.5, 10.0, 10.5)]
    assert stood == [None, "quick", "strong"]
    # Under one seed of two it was not finished.
    assert standing(rows[:3], 10.0, ORDER) == "quick"
    assert standing([], 10.0, ORDER) is None
    assert standing(rows, 10.5, ("other",)) is None


def test_a_peer_is_read_at_the_budget() -> None:
    low, high = tuple(one - 2 for one in VICTIMS), tuple(one + 2 for one in VICTIMS)
    rows = [ours("a", VICTIMS, seconds=20.0)]
    rival = peer((10.0, low), (60.0, high))
    early, late = compared(rows, [rival], [10.0, 60.0], ORDER)
    assert (early.ours, early.psnr, early.weaker) == (None, None, True)
    assert early.peer_means == pytest.approx((23.0, 0.23))
    assert compared([], [rival], [10.0], ORDER) == []
    assert late.psnr is not None
    assert late.psnr.interval.mean == pytest.approx(-2.0)
    assert late.weaker


def test_going_on_longer_does_not_harm_a_peer() -> None:
    """Its best until then, in each metric by itself; ours has one reading."""
    low, high = tuple(one - 2 for one in VICTIMS), tuple(one + 2 for one in VICTIMS)
    rival = peer((10.0, high), (60.0, low))
    sharper = replace(rival.readings[1], ssim=(0.9,) * 4)
    rival = replace(rival, readings=(rival.readings[0], sharper))
    _, late = compared([ours("a", VICTIMS)], [rival], [10.0, 60.0], ORDER)
    assert late.peer_means == pytest.approx((27.0, 0.9))
    assert late.psnr is not None
    assert late.psnr.interval.mean == pytest.approx(-2.0)


def test_who_has_queries_alone_meets_ours_of_the_same_knowledge_too() -> None:
    better = tuple(one + 5 for one in VICTIMS)
    rows = [ours("strong", better), ours("a", VICTIMS, seconds=20.0)]
    rivals = [peer((10.0, VICTIMS), (60.0, VICTIMS), name=name) for name in ("blind", "loop")]
    found = compared(rows, rivals, [10.0, 60.0], ORDER, asking={"a", "blind"})
    told = [(line.queries_alone, line.budget, line.peer, line.ours, line.weaker) for line in found]
    assert told == [
        (False, 10.0, "blind", "strong", False),
        (False, 10.0, "loop", "strong", False),
        (False, 60.0, "blind", "strong", False),
        (False, 60.0, "loop", "strong", False),
        (True, 10.0, "blind", None, True),  # which is not finished yet
        (True, 60.0, "blind", "a", False),
    ]
    equal = found[-1].psnr
    assert equal is not None
    assert equal.interval.mean == 0
    assert len(compared(rows[:1], rivals, [10.0], ORDER, asking={"a", "blind"})) == 2


def test_one_metric_behind_is_weaker() -> None:
    own = ours("a", VICTIMS)
    rival = peer((10.0, tuple(one - 1 for one in VICTIMS)))
    behind = Measured(10.0, 10.0, 1, rival.readings[0].psnr, (0.9,) * 4)
    rival = AttackRow(**{**vars(rival), "readings": (behind,)})
    [line] = compared([own], [rival], [10.0], ORDER)
    assert line.psnr is not None
    assert line.ssim is not None
    assert (line.psnr.word, line.ssim.word, line.weaker) == ("stronger", "weaker", True)
    assert not line.not_told_apart


def test_a_verdict_is_of_a_whole_comparison_alone() -> None:
    rows = [ours("a", VICTIMS), peer((10.0, VICTIMS), (60.0, VICTIMS))]
    busy = [replace(rows[0], wall_per_cpu=1.5), rows[1]]
    assert summary_of(rows, settings(), 0)["ok"]
    assert not summary_of(rows, settings(), 1)["ok"]
    assert not summary_of(rows, settings(quick=True), 0)["ok"]
    assert not summary_of(busy, settings(), 0)["ok"]
    assert not summary_of([], settings(), 0)["ok"]
    for unlike in ({"yardstick": None}, {"yardstick": 0.26}, {"environment": {"commit": "b"}}):
        assert not summary_of([replace(rows[0], **unlike), rows[1]], settings(), 0)["ok"]
    assert summary_of([replace(rows[0], yardstick=0.24), rows[1]], settings(), 0)["ok"]
    slow = summary_of([replace(rows[0], yardstick=0.3), rows[1]], settings(), 0)
    assert slow["pace_ratio"] == pytest.approx(1.5)
    assert verdict_told(slow).endswith("; a core was 1.5 times as fast in one row as in another.")
    apart = [replace(rows[0], yardstick=0.3, seed=1), rows[1]]  # which nobody compares
    assert summary_of(apart, settings(), 0)["pace_ratio"] == 1
    part = summary_of(rows, settings(contenders=("loop",)), 0)
    assert (part["ok"], part["left_out"]) == (False, ["a"])
    assert verdict_told(part).endswith("; contenders left out: 1.")


def test_a_mean_below_zero_is_told() -> None:
    """Behind by 0.25 dB in the mean, ahead on two victims of four."""
    near = (11.0, 39.0, 21.0, 28.0)
    summary = summary_of([ours("a", near), peer((10.0, near), (60.0, VICTIMS))], settings(), 0)
    assert (summary["ok"], summary["weaker"], summary["not_told_apart"]) == (True, 0, 1)
    assert verdict_told(summary) == (
        "Ours is weaker in none of 2 comparisons, not told apart in 1 (mean below 0)."
    )


def test_what_is_written_and_shown(tmp_path: Path) -> None:
    low = tuple(one - 2 for one in VICTIMS)
    rows = [ours("a", VICTIMS), peer((10.0, low), (60.0, VICTIMS))]
    summary = summary_of(rows, settings(), missing=0)
    assert (summary["ok"], summary["weaker"]) == (True, 0)
    assert verdict_told(summary) == "Ours is weaker in none of 2 comparisons."
    write_summary(tmp_path, summary)
    assert json.loads((tmp_path / SUMMARY).read_text())["comparisons"] == summary["comparisons"]
    first, second = csv.DictReader((tmp_path / CSV).read_text().splitlines())
    assert (first["peer"], first["psnr_difference"], first["psnr_verdict"]) == (
        "loop",
        "2.0",
        "stronger",
    )
    assert (second["budget_seconds"], second["psnr_verdict"]) == ("60.0", "at least as strong")
    lines = list(csv.DictReader((tmp_path / READINGS).read_text().splitlines()))
    assert [(one["contender"], one["budget_seconds"], one["psnr"]) for one in lines] == [
        ("a", "", "25.0"),
        ("loop", "10.0", "23.0"),
        ("loop", "60.0", "25.0"),
    ]
    drawn = [list(column.cells) for column in readings_table(summary).columns]
    assert drawn[1:] == [
        ["a", "loop"],
        ["", "23.0 / 0.230"],
        ["", "25.0 / 0.250"],
        ["25.0 / 0.250 in 5 s", ""],
    ]
    means = {one["contender"]: one for one in summary["contenders"]}
    assert [one["psnr"] for one in means["loop"]["readings"]] == [23.0, 25.0]
    assert means["a"]["readings"][0]["seconds"] == 5.0


def test_a_row_that_is_weaker_says_so() -> None:
    slow = [ours("a", VICTIMS, seconds=70.0), peer((10.0, VICTIMS), (60.0, VICTIMS))]
    summary = summary_of(slow, settings(), missing=3)
    assert (summary["ok"], summary["weaker"]) == (False, 2)
    assert verdict_told(summary) == "Ours is weaker in 2 of 2 comparisons; 3 runs are missing."
    assert "waited" not in verdict_told(summary)
    busy = [replace(slow[0], wall_per_cpu=1.5), slow[1]]
    assert "; runs that waited for their core: 1," in verdict_told(summary_of(busy, settings(), 0))
    assert "too short" in verdict_told({**summary, "settings": {"quick": True}})
    cells = [
        list(column.cells) for column in rich_lines(lines_of(slow, settings()), settings()).columns
    ]
    assert cells[2] == [NONE_FINISHED] * 2
    assert cells[5] == ["25.0 / 0.250"] * 2
    [first, *_] = summary["comparisons"]
    assert (first["psnr_ours"], first["psnr_peer"], first["psnr_verdict"]) == (None, 25.0, "weaker")


def test_the_table_stays_one_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest name of ours and the longest words."""
    name = max((one.name for one in OURS), key=len)
    monkeypatch.setattr(table, "ours_in_order", lambda: (name,))
    behind = tuple(one - 10 for one in VICTIMS)
    near = (11.0, 39.0, 21.0, 28.0)
    rows = [
        ours(name, near),
        *(peer((180.0, behind), (600.0, VICTIMS), name=loop) for loop in PEERS),
    ]
    rows = [replace(row, split="layer1.0.conv2") for row in rows]
    wanted = settings(budgets=(180.0, 600.0))
    narrow = VisibleConsole(width=80, file=io.StringIO(), highlight=False)
    narrow.print(rich_lines(lines_of(rows, wanted), wanted))
    lines = narrow.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 80
    cells = [[cell.strip() for cell in re.split("[│┃]", line)] for line in lines]
    assert any({"split point", "ours", "peer"} <= set(line) for line in cells)
    assert {"layer1.0.conv2", "decoder", "stronger"} <= {cell for line in cells for cell in line}
