"""The report is made of records alone, in one file that loads nothing from elsewhere."""

import json
import re

import pytest
import torch
from records import NAMES, record

from bench.report.grids import save_grid
from bench.sweep.depth import depth_correlations
from bench.sweep.report import write_report
from bench.sweep.table import rich_table, sweep_table
from splitlab.errors import BadInput
from splitlab.record import RecordStore


def run_of(folder, records):
    for one in records:
        RecordStore(folder).write(one)
    return folder


def test_one_file_without_a_network(tmp_path):
    one = record("conv1", doubts=("a <doubt> of its own",)).model_copy(update={"images": "a.png"})
    save_grid(tmp_path / "images" / "a.png", torch.rand(3, 3, 8, 8), torch.rand(3, 3, 8, 8))
    run_of(tmp_path, [one, record("layer1", psnr=20)])
    text = write_report(tmp_path).read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', text.replace('xlink:href="#', ""))
    assert text.count("data:image/png;base64,") == 1
    for words in ("30.0", "29.0..31.0", "a &lt;doubt&gt;", "no weights here", "<svg", "layer1"):
        assert words in text, words
    data = json.loads((tmp_path / "report.json").read_text())
    assert data["recommendation"]["split"] == "layer1"
    assert len(data["records"]) == 2


def test_the_report_is_the_same_when_made_again(tmp_path):
    run_of(tmp_path, [record("conv1"), record("layer1", psnr=20)])
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_no_records_no_report(tmp_path):
    with pytest.raises(BadInput, match="no records"):
        write_report(tmp_path)
    with pytest.raises(BadInput, match="no such folder"):
        write_report(tmp_path / "absent")


def test_leakage_against_depth():
    four = [record(n, psnr=p) for n, p in zip(NAMES, (30, 25, 26, 14), strict=True)]
    assert depth_correlations(four) == [
        {"attack": "decoder, undefended", "split_points": 4, "spearman": -0.8}
    ]
    assert depth_correlations(four[:3])[0]["spearman"] is None


def test_the_table_says_what_the_images_of_each_row_were():
    def row(attack, facts=None, **threat):
        return record(attack=attack).model_copy(
            update={"threat": {"box": "white", **threat}, "attack_facts": facts or {}}
        )

    rows = [
        row("decoder", {"learned_from": "queries to the client"}, auxiliary=9, observe=9),
        row("dci", {"learned_from": "512 synthetic images"}, auxiliary=9),
        row("dci", {"learned_from": "9 real images"}, auxiliary=9),
        row("psim", {"learned_from": "own head, as if undefended"}, auxiliary=9, synthetic="head"),
        row("di", {"learned_from": "nothing"}, auxiliary=9),
        row("mean-image"),
    ]
    table = sweep_table(rows, None)
    column = table.columns.index("images")
    words = [one.cells[column].text for one in table.rows]
    assert words == ["real images", "synthetic", "real images", "synthetic", "none", "none"]
    heads = [str(one.header) for one in rich_table(rows[:2], None, "a title").columns]
    assert "dci\nsynthetic" in heads
    assert "decoder" in heads
