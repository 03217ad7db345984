"""The table on a terminal: links and the Pareto front, where there are any, within its columns."""

from __future__ import annotations

import io
import itertools

import pytest
from records import NAMES, over, record
from rich.console import Console

from bench.sweep.splits import table as splits_table
from bench.sweep.table import rich_table
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.models import build
from splitlab.split import split_points

LOSSY = "rtt=40ms,up=10mbps,down=50mbps,loss=1%"
PLAIN = [("decoder", "undefended"), ("rmle", "undefended")]
DEFENDED = [*itertools.product(("decoder", "rmle"), ("adaptive", "unaware"))]


def shown(records, width):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(rich_table(records, "layer1", "resnet20 on photo-patches"))
    return console.export_text()


def run(links, attacks=PLAIN):
    """At every split point the same attacks, leaking less and taking longer with depth."""
    return [
        over(
            {link: 1000.0 * (1 + place) + number for number, link in enumerate(links)},
            split=split,
            psnr=30.0 - 4 * place,
            attack=attack,
            knowledge=knowledge,
        )
        for place, split in enumerate(NAMES)
        for attack, knowledge in attacks
    ]


def row(text, name):
    """Its cells, by what the first is."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    return next(found for found in cells if found and found[0] == name)


def test_latency_under_each_link_and_the_front():
    text = shown(run(("lte", "wifi")), 80)
    assert row(text, "layer1")[-3:] == ["2000", "2001", "yes"]
    assert all(word in text for word in ("lte", "wifi", "p50", "front"))
    beaten = [one for one in run(("lte",)) if one.split["name"] != "fc"]
    beaten.append(over({"lte": 9000.0}, split="fc", psnr=40.0, accuracy=20.0))
    beaten[-1].rate["payload_up"] = 1e6
    text = shown(beaten, 80)
    assert row(text, "fc")[-2:] == ["9000", ""]
    assert row(text, "conv1")[-2:] == ["1000", "yes"]


def test_where_a_link_loses_its_mean_is_shown():
    records = run((LOSSY,))
    for one in records:
        one.latency[f"link {LOSSY}"]["mean"] = 7777.0
    text = shown(records, 100)
    assert row(text, "fc")[-2:] == ["7777", "yes"]
    assert "mean" in text


def test_without_links_there_is_neither():
    text = shown([record("conv1"), record("layer1", psnr=20)], 80)
    assert "front" not in text
    assert row(text, "layer1")[-1] == "3.0"  # over loopback


def test_several_datatypes_are_weighed_too():
    narrow = record("layer1", psnr=20)
    narrow.config["wire"] = "INT8"
    text = shown([record("conv1"), narrow], 80)
    assert "front" in text
    assert row(text, "layer1")[-2:] == ["3.0", "yes"]


@pytest.mark.parametrize(
    ("links", "attacks", "width"),
    [
        ((), PLAIN, 80),
        (("lte", "wifi"), PLAIN, 80),
        (("lte", "wifi", "5g", LOSSY), PLAIN, 100),
        (("lte", "wifi", "5g", "fiber"), DEFENDED, 100),
    ],
)
def test_nothing_is_cut_off(links, attacks, width):
    records = run(links, attacks)
    for one in records:
        one.split["name"] = f"{one.split['name']}.0.relu1"
    text = shown(records, width)
    assert "…" not in text
    found = row(text, "layer2.0.relu1")
    assert [float(cell) for cell in found[-1 - len(links) : -1] if links] == [
        3000.0 + number for number in range(len(links))
    ]
    assert all(cell.startswith("22.0") for cell in found[1 : 1 + len(attacks)])


def test_names_of_split_points_stand_in_one_piece_at_80_columns():
    arch = ArchSpec.named("resnet20", input=InputSpec(size=32))
    points = split_points(build(arch, seed=0), arch.input.shape, "block")
    file = io.StringIO()
    Console(file=file, width=80).print(splits_table(points, "resnet20"))
    words = file.getvalue().split()
    assert {point.name for point in points} <= set(words)
    assert max(map(len, file.getvalue().splitlines())) <= 80
