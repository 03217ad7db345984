"""A number that rounds to nothing has no sign, in whatever is printed."""

from __future__ import annotations

import ast
import io
import re
from pathlib import Path

import pytest
from records import interval, record
from rich.console import Console

from bench.reproduce.frame.columns import DEFAULT, column_of
from bench.reproduce.frame.summary import Spread
from bench.reproduce.frame.table import printed, ranged, shown
from bench.sweep.depth import depth_correlations
from bench.sweep.report import write_report
from bench.sweep.table import rich_table, sweep_table
from bench.sweep.wires import change_of
from splitlab.record import Leakage, Record, RecordStore, point_hash

ROOT = Path(__file__).parents[3]
ROOMS = ("splitlab", "defenses", "adversary", "edge_client", "cloud_server", "bench", "docs")
NOTHING = re.compile(r"(?<![\w.])[-+]0(\.0*)?(?![\d.]|\.\d)")
DIGITS = re.compile(r"\.(\d|\{)[^z]*[f%]$")


def nearly(mean: float, unit: str = "dB") -> Leakage:
    return interval(mean, unit).model_copy(update={"low": mean, "high": mean})


def nearly_nothing() -> list[Record]:
    """Every number that may be below zero is, by less than is shown."""
    found = []
    for place, name, wire in ((-0.0001, "conv1", "FP32"), (-0.0003, "conv1-INT8", "INT8")):
        one = record("conv1")
        one.config.update({"wire": wire, "split": "conv1"})
        one.split["name"] = name
        one.leakage.update({"psnr": nearly(place), "ssim": nearly(place, "1")})
        one.leakage["reidentified_by_pixels"] = nearly(-0.1, "%")
        one.floor["psnr"] = nearly(place)
        one.latency["total"].update({"p50": -0.001, "p95": -0.001})
        one.utility["accuracy"] = 50 + place
        found.append(one.model_copy(update={"hash": point_hash(one.config, "d" * 64)}))
    return found


def test_tables_of_a_sweep(tmp_path: Path) -> None:
    records = nearly_nothing()
    found = sweep_table(records, None)
    texts = [
        text for row in found.rows for cell in row.cells for text in (cell.text, cell.interval)
    ]
    assert {"0.0", "0.000", "0.00", "0"} <= set(texts)
    assert not [text for text in texts if NOTHING.search(text)]
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(rich_table(records, None, "title"))
    assert not NOTHING.search(console.export_text())
    store = RecordStore(tmp_path)
    for one in records:
        store.write(one)
    page = write_report(tmp_path).read_text()
    assert not NOTHING.search(re.sub(r"<(style|script|svg).*?</\1>|<[^>]*>", " ", page, flags=re.S))


def test_tables_of_a_reproduction() -> None:
    spread = Spread.of({0: -0.0001, 1: -0.0002, 2: -0.0})
    for column in map(column_of, DEFAULT):
        assert not NOTHING.search(shown(column, spread) + " " + ranged(column, spread))
    assert printed(-0.0) == "0"
    assert printed(-0.5) == "-0.5"


@pytest.mark.parametrize(
    ("value", "text"), [(-0.004, "0.00"), (0.004, "0.00"), (0.006, "+0.01"), (-0.006, "-0.01")]
)
def test_a_change_has_a_sign_where_there_is_one(value: float, text: str) -> None:
    assert change_of(value, 2) == text


def test_a_rank_correlation_of_nothing() -> None:
    values = [1.0, 2.0, 2.0, 1.0]
    records = [
        record(name, psnr=value)
        for name, value in zip(("conv1", "layer1", "layer2", "fc"), values, strict=True)
    ]
    (found,) = depth_correlations(records)
    assert str(found["spearman"]) in ("0.0", "None")


def _formats(path: Path) -> list[str]:
    """Every fixed-point format of an f-string that would print a negative zero."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            parts = node.format_spec.values
            spec = "".join(p.value if isinstance(p, ast.Constant) else "{" for p in parts)
            if DIGITS.search(spec) and "z" not in spec:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: :{spec}")
    return found


def test_no_format_prints_one() -> None:
    """`f"{-0.001:.2f}"` is "-0.00", `f"{-0.001:z.2f}"` is "0.00"."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 200
    assert [one for path in files for one in _formats(path)] == []
