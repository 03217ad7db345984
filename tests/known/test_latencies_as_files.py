"""Measurements of latency as files beside the records, and what they put into a row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from records import record

from splitlab.errors import Corrupt
from splitlab.record import Latency, MachineLoad, PlaceLatency, RecordStore
from splitlab.record.store import LATENCY_REMEDY, flat


def measured(letter: str = "a", created: str = "2026-01-02T00:00:00+00:00") -> Latency:
    """Of conv1 alone, in three rounds."""
    times = {"p50": 5.0, "p95": 6.0}
    place = PlaceLatency(digest="d", stages={"total": times}, rounds=(5.0, 5.0, 6.0))
    load = MachineLoad(others=0.25, average_before=1.0, average_after=None, cores=2, seconds=3.0)
    return Latency(
        hash=letter * 64,
        created=created,
        images=8,
        requests=4,
        places={"conv1": place},
        load=load,
        environment={"cpu": "a processor"},
    )


def test_a_measurement_is_a_json_file_under_its_hash_and_is_written_once(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    assert store.latencies() == []
    for one in (measured("b"), measured("a"), measured("b", created="later")):
        store.write_latency(one)
    (tmp_path / "latency" / "notes.txt").write_text("another file")
    files = sorted(path.name for path in (tmp_path / "latency").glob("*.json"))
    assert files == [f"{'a' * 64}.json", f"{'b' * 64}.json"]
    content = json.loads((tmp_path / "latency" / files[1]).read_text())
    assert content == measured("b").model_dump(mode="json")
    assert store.latencies() == [measured("a"), measured("b")]


def test_a_field_that_is_wrong_is_named_with_its_file_and_remedy(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.write_latency(measured())
    path = tmp_path / "latency" / f"{'a' * 64}.json"
    content = json.loads(path.read_text())
    for change, field in (
        ({"load": {**content["load"], "cores": "x"}}, "load.cores"),
        ({"images": None, "zzz": 1}, "images"),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(Corrupt, match=f": field '{field}': ") as raised:
            store.latencies()
        assert raised.value.path == path
        assert str(raised.value).endswith(LATENCY_REMEDY)
    path.write_text("{")
    with pytest.raises(Corrupt, match=LATENCY_REMEDY):
        store.latencies()


def test_a_measurement_under_another_name_is_refused(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    store.write_latency(measured())
    there = tmp_path / "latency" / f"{'a' * 64}.json"
    there.rename(there.with_name(f"{'b' * 64}.json"))
    with pytest.raises(Corrupt, match=r"is the measurement a{12}; ") as raised:
        store.latencies()
    assert raised.value.path.name == f"{'b' * 64}.json"


def test_a_row_says_where_its_times_come_from(tmp_path: Path) -> None:
    store = RecordStore(tmp_path)
    for one in (record("conv1"), record("layer1")):
        store.write(one)
    store.write_latency(measured())
    joined, alone = (flat(one) for one in store.all())
    told: dict[str, Any] = {key: value for key, value in joined.items() if "latency" in key}
    assert told == {
        "latency.total.p50_ms": 5.0,
        "latency.total.p95_ms": 6.0,
        "latency.record": "a" * 64,
        "latency.created": "2026-01-02T00:00:00+00:00",
        "latency.images": 8,
        "latency.load.others": 0.25,
    }
    assert joined["split.name"] == "conv1"
    assert "latency.record" not in alone
