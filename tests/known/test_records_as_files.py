"""Records as files: what stands in JSON, CSV and JSON lines, and in which order."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from records import interval, record

from splitlab.errors import Corrupt
from splitlab.record import Record, RecordStore
from splitlab.record.store import REMEDY, flat


def other(made: Record, letter: str, **changes: Any) -> Record:
    """Another point: its hash begins with another letter."""
    return made.model_copy(update={"hash": letter * 64, **changes})


def test_a_record_is_a_json_file_under_its_hash(tmp_path: Path) -> None:
    made = record()
    store = RecordStore(tmp_path)
    assert store.path("ab") == tmp_path / "records" / "ab.json"
    store.write(made)
    (file,) = (tmp_path / "records").iterdir()
    assert file.name == f"{made.hash}.json"
    kept = made.model_dump(mode="json")
    assert kept.pop("latency_facts") == {}  # joined from a record of its own where a run has one
    assert json.loads(file.read_text()) == kept


def test_all_are_read_by_split_then_attack_then_hash(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    no_index = {"name": "x"}
    made = [
        other(record("layer1", attack="rmle"), "0"),
        other(record("conv1", attack="rmle"), "1"),
        other(record("layer1", attack="decoder"), "2"),
        other(record("conv1", attack="rmle"), "3"),
        other(record("conv1", attack="dci"), "4", split=no_index),
        other(record("conv1"), "5", config={"seed": 0}),
    ]
    for one in made:
        store.write(one)
    assert [one.hash[0] for one in store.all()] == ["5", "4", "1", "3", "2", "0"]


def test_a_field_that_is_wrong_is_named_with_its_file_and_remedy(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    made = record()
    store.write(made)
    content = json.loads(store.path(made.hash).read_text())
    for change, field in (
        ({"leakage": {"psnr": {**content["leakage"]["psnr"], "unit": 3}}}, "leakage.psnr.unit"),
        ({"created": None, "zzz": 1}, "created"),
        ({"zzz": 1}, "zzz"),
    ):
        store.path(made.hash).write_text(json.dumps({**content, **change}))
        with pytest.raises(Corrupt, match=f"field '{field}'") as raised:
            store.read(made.hash)
        assert raised.value.path == store.path(made.hash)
        assert str(raised.value).endswith(REMEDY)
    store.path(made.hash).write_text("{")
    with pytest.raises(Corrupt, match=REMEDY):
        store.read(made.hash)
    with pytest.raises(Corrupt, match=REMEDY):
        store.read("f" * 64)


def test_lists_are_derived_beside_the_folder(tmp_path: Path) -> None:
    one = record("conv1", doubts=("a doubt", "another"))
    two = other(record("layer1"), "f", leakage={"ssim": interval(0.5)}, floor={})
    RecordStore(tmp_path).derive([one, two])
    lines = (tmp_path / "records.jsonl").read_text()
    assert lines == "".join(
        json.dumps(r.model_dump(mode="json"), sort_keys=True) + "\n" for r in (one, two)
    )
    text = (tmp_path / "records.csv").read_bytes().decode()
    assert "\r" not in text
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == list(flat(one))
    assert rows[0]["leakage.psnr"] == "30.0"
    assert rows[1]["leakage.psnr"] == ""  # not measured there
    assert rows[1]["floor.psnr.low"] == ""


def test_a_row_says_what_a_reader_of_the_table_needs() -> None:
    made = record("layer1", accuracy=70.0, psnr=20.0, doubts=("one", "two"))
    config = {**made.config, "victim": {"epochs": 1}, "tail_start": None, "flip": True, "lr": 0.5}
    made = made.model_copy(update={"config": config})
    row = flat(made)
    plain = {f"config.{k}": v for k, v in config.items() if k != "victim"}
    assert row == {
        "hash": made.hash,
        "data_hash": "d" * 64,
        **plain,
        "split.name": "layer1",
        "split.index": 1,
        "split.bytes_per_image": 32768,
        "split.head_macs": 40,
        "split.rest_macs": 60,
        "utility.accuracy": 70.0,
        "utility.accuracy_whole": 80.0,
        "utility.agreement": 100.0,
        "rate.payload_up": 32768.0,
        "rate.framed_up": 66000.0,
        "latency.head.p50_ms": 1.0,
        "latency.head.p95_ms": 2.0,
        "latency.total.p50_ms": 3.0,
        "latency.total.p95_ms": 4.0,
        "leakage.psnr": 20.0,
        "leakage.psnr.low": 19.0,
        "leakage.psnr.high": 21.0,
        "leakage.ssim": 0.5,
        "leakage.ssim.low": -0.5,
        "leakage.ssim.high": 1.5,
        "leakage.lpips_alex": None,
        "leakage.lpips_alex.low": None,
        "leakage.lpips_alex.high": None,
        "floor.psnr": 13.0,
        "floor.psnr.low": 12.0,
        "floor.psnr.high": 14.0,
        "floor.ssim": 0.1,
        "floor.ssim.low": -0.9,
        "floor.ssim.high": 1.1,
        "doubts": "one; two",
        "commit": "c" * 40,
    }
