"""Several datatypes in one sweep: their points, names and what the table says of them."""

from __future__ import annotations

import pytest
from records import record

from bench.point.measure import plans, point_of
from bench.point.recipe import SweepConfig, require_same, validated, wires_of
from bench.sweep.depth import depth_correlations
from bench.sweep.front import pareto_front
from bench.sweep.table import sweep_table
from bench.sweep.wires import against_first, other_wire
from splitlab.errors import BadInput


def on(wire: str, split: str, *, first: bool = False, **facts: float):
    """A record of `split` on a wire; the first wire's keeps the split point's name."""
    made = record(split, **facts)
    share = {"FP32": 1.0, "INT8": 0.26}[wire]
    return made.model_copy(
        update={
            "config": {**made.config, "wire": wire},
            "split": {**made.split, "name": split if first else f"{split}-{wire}"},
            "rate": {**made.rate, "payload_up": made.rate["payload_up"] * share},
        }
    )


RECORDS = [
    on("FP32", "conv1", first=True, psnr=30.0),
    on("INT8", "conv1", psnr=29.5, accuracy=79.2),
    on("FP32", "layer1", first=True, psnr=25.0),
    on("INT8", "layer1", psnr=25.1),
]


def test_a_config_has_one_for_each_wire_and_points_that_do_not_know_of_the_others():
    config = validated(**wires_of(["FP16", "INT8", "FP16", "FP32"]))
    each = config.on_each_wire
    assert {suffix: one.wire for suffix, one in each.items()} == {
        "": "FP16",
        "-INT8": "INT8",
        "-FP32": "FP32",
    }
    alone = validated(wire="INT8")
    (plan,) = plans(validated(attacks=("decoder",)))
    point = point_of(alone, "layer1", plan)
    assert point_of(each["-INT8"], "layer1", plan) == point
    assert "wires" not in point.as_dict()
    assert wires_of(None) == {"wire": "FP32", "wires": ()}
    with pytest.raises(BadInput, match="--wires-1 'INT4'"):
        validated(**wires_of(["FP32", "INT8", "INT4"]))


def test_a_finished_run_may_be_given_further_wires(tmp_path):
    require_same(SweepConfig(), SweepConfig(wires=("INT8",)), tmp_path)
    with pytest.raises(BadInput, match="wire = 'FP32'"):
        require_same(SweepConfig(), SweepConfig(wire="INT8"), tmp_path)


def test_the_table_says_what_a_datatype_saves_and_costs():
    assert against_first(RECORDS[1], RECORDS) == ("INT8", "74.0", "-0.8", "-0.50")
    assert against_first(RECORDS[0], RECORDS) == ("FP32", "", "", "")
    assert [other_wire(one) for one in RECORDS] == [None, "INT8", None, "INT8"]
    table = sweep_table(RECORDS, "layer1-INT8")
    columns = dict(zip(table.columns, table.rows[1].cells, strict=True))
    assert columns["split point"].text == "conv1-INT8"
    assert columns["bytes saved [%]"].text == "74.0"
    assert columns["accuracy [points]"].text == "-0.8"
    assert columns["PSNR [dB, change]"].text == "-0.50"
    assert [row.best for row in table.rows] == [False, False, False, True]
    assert "wire" not in sweep_table(RECORDS[::2], None).columns


def test_the_front_weighs_bytes_against_leakage():
    """INT8 at layer1 has fewer bytes: 0.1 dB more is within the interval, 1.5 dB are not."""
    assert pareto_front(RECORDS) == {"layer1-INT8"}
    leaky = on("INT8", "layer1", psnr=26.5)
    assert pareto_front([*RECORDS[:3], leaky]) == {"layer1", "layer1-INT8"}


def test_depth_is_judged_wire_by_wire():
    assert {one["attack"] for one in depth_correlations(RECORDS)} == {
        "decoder, undefended",
        "decoder, undefended, INT8",
    }
