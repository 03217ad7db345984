"""One measurement for all deployments of a run: joined, chosen among several, damaged, old."""

from __future__ import annotations

import json

import pytest
from latencies import latency
from records import over, record

from bench.latency.measure import deployments
from bench.sweep.recommend import places
from bench.sweep.report import write_report
from bench.sweep.table import sweep_table
from splitlab.errors import Corrupt
from splitlab.record import RecordStore, joined, latency_hash
from splitlab.record.latency import spread


def written(run, records, *latencies):
    store = RecordStore(run)
    for one in records:
        store.write(one)
    for one in latencies:
        store.write_latency(one)
    return store


def test_tables_json_and_csv_show_what_was_measured_together(tmp_path):
    points = [record(name, psnr=20).model_copy(update={"latency": {}}) for name in ("conv1", "fc")]
    store = written(tmp_path, points, latency({"conv1": [90.0], "fc": [80.0]}, link=70.0))
    write_report(tmp_path)
    table = sweep_table(store.all(), None)
    column = table.columns.index("p50 [ms]")
    assert [row.cells[column].text for row in table.rows] == ["90.0", "80.0"]
    assert "request of 8 images" in table.note
    told = json.loads((tmp_path / "report.json").read_text())["records"]
    assert [one["latency"]["total"]["p50"] for one in told] == [90.0, 80.0]
    csv = (tmp_path / "records.csv").read_text().splitlines()
    assert csv[0].count("latency.total.p50_ms") == 1
    assert "80.0" in csv[2]
    assert [place.links for place in places(store.all())] == [{"lte": 70.0}, {"lte": 70.0}]


def test_a_records_file_never_holds_what_was_joined(tmp_path):
    store = written(tmp_path, [record("conv1")], latency({"conv1": [9.0]}))
    (with_times,) = store.all()
    assert with_times.latency["total"]["p50"] == 9.0
    written(tmp_path / "copy", [with_times])
    (path,) = (tmp_path / "copy" / "records").glob("*.json")
    assert "latency_facts" not in json.loads(path.read_text())


def test_an_old_record_keeps_the_latency_that_it_has():
    old = over({"lte": 70.0}, split="conv1")
    assert joined([old], []) == [old]
    assert joined([old], [latency({"fc": [9.0]})]) == [old]


def test_of_several_measurements_the_one_of_all_deployments_counts():
    first = latency({"conv1": [285.0]}, created="2026-03-01")
    both = latency({"conv1": [94.0], "fc": [95.0]}, created="2026-02-01")
    again = latency({"conv1": [96.0], "fc": [97.0]}, created="2026-02-02")
    found = joined([record("conv1"), record("fc")], [first, again, both])
    assert [one.latency["total"]["p50"] for one in found] == [96.0, 97.0]
    assert {one.latency_facts["record"] for one in found} == {again.hash}


def test_what_is_measured_anew_has_another_name():
    base = latency_hash({"a": "1"}, [], 1)
    assert latency_hash({"a": "1", "a-INT8": "2"}, [], 1) != base
    assert latency_hash({"a": "3"}, [], 1) != base
    assert latency_hash({"a": "1"}, ["lte: rtt=1"], 1) != base
    assert latency_hash({"a": "1"}, [], 2) == base, "no link, no simulation"
    linked = latency_hash({"a": "1"}, ["lte: rtt=1"], 1)
    assert latency_hash({"a": "1"}, ["lte: rtt=1"], 2) != linked


def test_a_damaged_measurement_is_named(tmp_path):
    one = latency({"conv1": [9.0]})
    store = written(tmp_path, [record("conv1")], one)
    path = store.latency_folder / f"{one.hash}.json"
    path.write_text(path.read_text().replace('"requests": 4', '"requests": "four"'))
    with pytest.raises(Corrupt, match="requests"):
        store.all()
    path.write_text("{")
    with pytest.raises(Corrupt, match="measures only the latency"):
        store.all()


def test_spread_is_the_widest_difference_by_the_median():
    assert spread((10.0, 12.0, 9.0, 10.0)) == pytest.approx(0.3)
    assert spread(()) == 0.0


def test_a_place_whose_deployment_is_gone_is_left_out(tmp_path):
    assert deployments(tmp_path, [record("conv1")]) == {}
