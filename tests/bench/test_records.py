"""Records are written once, read back whole, and doubted together."""

import csv

import pytest
from latencies import latency
from records import record

from splitlab.errors import Corrupt
from splitlab.record import RecordStore, doubts, joined


def test_a_record_is_written_once_and_read_back(tmp_path):
    store = RecordStore(tmp_path)
    first = record(psnr=30.0)
    store.write(first)
    store.write(record(psnr=10.0))
    assert store.read(first.hash) == first
    assert store.has(first.hash)
    assert not store.has("0" * 64)


def test_damage_is_an_error_and_not_a_missing_point(tmp_path):
    store = RecordStore(tmp_path)
    first = record()
    store.write(first)
    path = store.path(first.hash)
    path.write_text(path.read_text()[:-40])
    with pytest.raises(Corrupt, match=first.hash[:12]):
        store.has(first.hash)


def test_a_record_under_another_name_is_refused(tmp_path):
    store = RecordStore(tmp_path)
    store.write(record())
    store.path(record().hash).rename(store.path("0" * 64))
    with pytest.raises(Corrupt, match="is the record of point"):
        store.all()


def test_csv_has_a_row_a_point_and_says_the_interval(tmp_path):
    store = RecordStore(tmp_path)
    for one in (record("layer1", psnr=20.5), record("conv1")):
        store.write(one)
    store.derive(store.all())
    rows = list(csv.DictReader((tmp_path / "records.csv").read_text().splitlines()))
    assert [row["config.split"] for row in rows] == ["conv1", "layer1"]
    assert float(rows[1]["leakage.psnr"]) == 20.5
    assert float(rows[1]["leakage.psnr.low"]) == 19.5
    assert rows[0]["leakage.lpips_alex"] == ""


def together(*records):
    """With the latencies of their places measured in turns."""
    places = {one.split["name"]: [3.0, 3.1, 3.0] for one in records}
    return joined(records, [latency(places)])


def test_a_clean_run_raises_no_doubt():
    assert doubts(together(record("conv1"), record("layer1", psnr=20))) == []


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no records"),
        ([record(), record("layer1", commit="e" * 40)], "2 commits"),
        ([record(commit="c" * 40 + "+changes")], "uncommitted"),
        (
            [record(psnr=30), record(psnr=20, attack="rmle", box="white")],
            "black-box attack \\(30.0 dB\\) beats the white-box",
        ),
        (
            [
                record(psnr=20, knowledge="adaptive", defense="gaussian"),
                record(psnr=25, knowledge="unaware", defense="gaussian"),
            ],
            "unaware of the defence",
        ),
    ],
)
def test_doubts(records, words):
    import re

    found = doubts(records)
    assert any(re.search(words, doubt) for doubt in found), found


def test_a_better_informed_attack_that_wins_raises_no_doubt():
    found = together(
        record(psnr=20),
        record(psnr=30, attack="rmle", box="white"),
        record("layer1", psnr=25, knowledge="adaptive", defense="gaussian"),
        record("layer1", psnr=20, knowledge="unaware", defense="gaussian"),
    )
    assert doubts(found) == []
