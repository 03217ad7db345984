"""Every table of a command, of committed results, in 80 columns: no word of it is parted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from whole_words import parted, printed

from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import rich_parts
from bench.reproduce.frame.trials import Searched, Trial, Tried
from bench.reproduce.frame.trials import table as search_table
from bench.reproduce.registry import EXPERIMENTS
from bench.sweep.recommend import recommend
from bench.sweep.splits import table as splits_table
from bench.sweep.table import rich_table
from splitlab.contracts import ArchSpec, Registry
from splitlab.contracts.kinds import IMAGE
from splitlab.estimating import Forecast
from splitlab.metrics import METRICS
from splitlab.models import build
from splitlab.record import RecordStore
from splitlab.split import SplitPoint, split_points

RESULTS = Path(__file__).resolve().parents[3] / "results"
FOLDERS = sorted(path.parent for path in RESULTS.glob("*/records"))
SWEEPS = [path for path in FOLDERS if not (path / "summary.json").exists()]
FRAMED = [path for path in FOLDERS if (path / "summary.json").exists()]
QUICK = ("ensembler-figure2", "dci-table2")


def tables_of(folder: Path) -> Iterator[Table]:
    """What `bench reproduce` prints of the records of a folder."""
    told = json.loads((folder / "summary.json").read_text())
    experiment = Registry("experiment", EXPERIMENTS).load(told["experiment"]).build(told["scale"])
    found: dict[int, dict[str, Any]] = {}
    for record in RecordStore(folder).all():
        found.setdefault(record.config["seed"], {})[record.config["measurement"]] = record
    parts = rich_parts(summarise(experiment, found))
    yield from (part for part in parts if isinstance(part, Table))


def check(table: Table) -> None:
    assert parted(table) == []
    assert max(map(len, printed(table).splitlines())) <= 80


def test_there_are_results() -> None:
    assert len(SWEEPS) >= 5
    assert len(FRAMED) >= 8


@pytest.mark.parametrize("folder", SWEEPS, ids=lambda path: path.name)
def test_a_sweep(folder: Path) -> None:
    records = RecordStore(folder).all()
    check(rich_table(records, recommend(records).split, f"{folder.name}, defence none"))


@pytest.mark.parametrize(
    "folder",
    [
        pytest.param(path, id=path.name, marks=() if path.name in QUICK else pytest.mark.slow)
        for path in FRAMED
    ],
)
def test_an_experiment(folder: Path) -> None:
    tables = list(tables_of(folder))
    assert tables
    for table in tables:
        check(table)


@pytest.mark.parametrize("path", sorted((RESULTS / "dci-search").glob("*.json")))
def test_a_search(path: Path) -> None:
    trials = [_tried_before(entry["trial"]) for entry in json.loads(path.read_text()).values()]
    alike = [one for one in trials if one.settings.keys() == trials[0].settings.keys()]
    tried = [Tried(one.settings, (one,)) for one in alike]
    check(search_table(Searched.of(tried, IMAGE, [METRICS.load("ssim")], path)))


def _tried_before(told: dict[str, Any]) -> Trial:
    """A trial as searches kept it before each had a record."""
    names = ("psnr", "ssim", "mse", "seconds")
    numbers = {name: told[name] for name in names if told[name] is not None}
    floor = {"psnr": told["floor_psnr"]}
    return Trial(told["settings"], told["seed"], numbers, floor, tuple(told["doubts"]))


LONG = "stages.3.blocks.10.attention.projection"


def test_split_points_with_long_names() -> None:
    points = [
        SplitPoint(
            *(f"{LONG}.{n}", n, (2048, 112, 112)),
            *(10**8, 10**9, 10**9, 10**12, 10**12),
            *((), "block"),
        )
        for n in range(3)
    ]
    check(splits_table(points, f"my.package.of.networks:Factory:width=12, {LONG}"))


@pytest.mark.parametrize(
    "name",
    [
        "resnet20",
        "tiny_vit",
        pytest.param("mobilenet_v2", marks=pytest.mark.slow),
        pytest.param("timm/convnext_atto", marks=pytest.mark.slow),
        pytest.param("torchvision/swin_t", marks=pytest.mark.slow),
    ],
)
def test_split_points_of_a_network(name: str) -> None:
    arch = ArchSpec.named(name, classes=1000)
    for granularity in ("block", "operation"):
        points = split_points(build(arch, seed=0), arch.input.shape, granularity)
        check(splits_table(points, f"{name}, 32x32, 1000 classes"))


def test_an_estimate() -> None:
    told = {"attack aligned-shadow at stages.3.blocks.10.attention.projection": 3.0, "deploy": 1e6}
    check(Forecast.of_stages(3, told, 2**30, ["what nobody counts, of words"]).table())
