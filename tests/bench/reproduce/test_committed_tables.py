"""The committed records give the committed rows, verdicts, tables and CSV."""

import json
import re
from pathlib import Path

import pytest

from bench.reproduce.frame.page import write_page
from bench.reproduce.frame.request import ExperimentRequest, Target
from bench.reproduce.frame.summary import summarise
from bench.reproduce.frame.table import write_csv
from bench.reproduce.registry import EXPERIMENTS
from splitlab.contracts.registry import Registry
from splitlab.record import RecordStore

RESULTS = Path(__file__).resolve().parents[3] / "results"
FOLDERS = sorted(
    path.parent for path in RESULTS.glob("*/summary.json") if (path.parent / "records").is_dir()
)
LATER = {"cifar10-resnet20-dci-table2", "dci-figure12"}
"""Whose declaration has lines, or left numbers out, since they were measured."""
MOVED = {"cifar10-resnet20-dci-table2": Target("resnet20", "layer2.0")}
SAME = ("label", "attack", "cell", "measured", "floor", "best_of", "chosen", "records", "doubts")


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name, scope="module")
def told(request):
    """Folder, what was committed, and what its records give now."""
    was = json.loads((request.param / "summary.json").read_text())
    framed = Registry("experiment", EXPERIMENTS).load(was["experiment"])
    asked = ExperimentRequest(
        request.param, was["scale"], target=MOVED.get(request.param.name, Target())
    )
    experiment = framed.experiment(asked)
    found = {seed: {} for seed in was["seeds"]}
    for record in RecordStore(request.param).all():
        found[record.config["seed"]][record.config["measurement"]] = record
    return request.param, was, summarise(experiment, found)


def jsoned(summary):
    return json.loads(json.dumps(summary.as_dict()))


def test_rows_and_verdicts(told):
    folder, was, summary = told
    now = jsoned(summary)
    assert (now["experiment"], now["scale"], now["seeds"]) == (
        was["experiment"],
        was["scale"],
        was["seeds"],
    )
    rows = {row["key"]: row for row in now["rows"]}
    for row in was["rows"]:
        assert {key: rows[row["key"]][key] for key in SAME} == {key: row[key] for key in SAME}
        assert folder.name in LATER or row["paper"].items() <= rows[row["key"]]["paper"].items()
    claims = [(c["text"], c["verdict"], c["by_seed"]) for c in now["claims"]]
    told = [(c["text"], c["verdict"], c["by_seed"]) for c in was["claims"]]
    assert [one for one in claims if folder.name not in LATER or one in told] == told


def test_extra_tables(told):
    _, was, summary = told
    now = {table["title"]: table for table in jsoned(summary)["tables"]}
    for table in was["tables"]:
        other = now[table["title"]]
        kept = [name for name in table["columns"] if name in other["columns"]]
        assert set(table["columns"]) - set(kept) <= {c for c in table["columns"] if "paper" in c}
        for name in kept:
            old, new = (
                [row[one["columns"].index(name)] for row in one["rows"]] for one in (table, other)
            )
            assert new == old, (table["title"], name)


def test_the_csv(told, tmp_path):
    folder, _, summary = told
    write_csv(tmp_path / "table.csv", summary)
    if folder.name not in LATER:
        assert (tmp_path / "table.csv").read_bytes() == (folder / "table.csv").read_bytes()


def test_the_page_has_no_empty_column_and_no_raw_marks(told, tmp_path):
    *_, summary = told
    page = write_page(tmp_path, summary.experiment, summary, [], {}).read_text()
    assert "`" not in page
    assert page.count("<code>") >= sum(note.count("`") // 2 for note in summary.experiment.notes)
    tables = re.findall(r'<table role="table" class="data (?!matrix).*?</table>', page, re.DOTALL)
    assert len(tables) == 1 + bool(summary.judged) + len(summary.tables)
    for table in tables:
        rows = re.findall(r"<tr role=\"row\"(?: class=\"\w+\")?>(.*?)</tr>", table, re.DOTALL)
        whole = [row for row in rows[1:] if "colspan" not in row]
        cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in whole]
        headings = re.findall(r"<th[^>]*>(.*?)</th>", rows[0])
        assert all(len(row) == len(headings) for row in cells)
        texts = [re.sub("<[^>]*>", "", "".join(column)) for column in zip(*cells, strict=True)]
        assert all(texts), [name for name, text in zip(headings, texts, strict=True) if not text]
