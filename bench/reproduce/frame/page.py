"""The page of a reproduction: one HTML file without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.point.kept import kept_told
from bench.report.grids import COLUMNS, data_uri, strips
from bench.report.page import filled, missing_columns
from bench.report.settings_table import setting_groups
from bench.reproduce.frame.columns import FactColumn, leaks
from bench.reproduce.frame.experiment import Experiment
from bench.reproduce.frame.summary import RowSummary, Summary
from bench.reproduce.frame.table import shown, table_lines
from splitlab.contracts.quantity import Quantity
from splitlab.record import Record
from splitlab.storage import write_bytes

CELL_COLUMNS = 4  # victims in one cell of a grid; a line of its own holds twice as many


def write_page(
    run: Path,
    experiment: Experiment,
    summary: Summary,
    records: Sequence[Record],
    seconds: Mapping[str, float],
) -> Path:
    """Write `run/report.html` and return its path."""
    text = filled(
        "reproduce.html.j2",
        title=experiment.title,
        lead=_lead(summary),
        time=_time(seconds),
        notes=experiment.notes,
        skipped=sorted({row.why for row in summary.rows if row.why}),
        judged=summary.judged,
        rule=_rule(experiment),
        paper=[column.heading for column in summary.in_paper],
        titles=[column.heading for column in summary.columns],
        rows=table_lines(summary),
        figure=summary.figure,
        tables=summary.tables,
        means=" and ".join(column.title or column.name for column in _leaking(summary)),
        pictures=_pictures(run / "images", summary),
        matrices=_matrices(run / "images", summary),
        doubts=_doubts(summary),
        missing=missing_columns(records),
        kept=kept_told(records),
        settings=setting_groups(sorted(summary.as_dict()["setup"].items())),
        environment=setting_groups(summary.environment),
        count=len(records),
    )
    if summary.figure:
        write_bytes(run / "figure.svg", summary.figure.encode())
    write_bytes(run / "report.html", text.encode())
    return run / "report.html"


def _lead(summary: Summary) -> str:
    experiment = summary.experiment
    seeds = ", ".join(map(str, summary.seeds))
    data = experiment.setup.dataset.partition(":")[0] or "no data"
    return (
        f"{experiment.source}; here at {experiment.scale} scale: {experiment.setup.model} on "
        f"{data}, seeds {seeds}. Numbers are means over "
        "seeds, with the smallest and the largest."
    )


def _time(seconds: Mapping[str, float]) -> str:
    told = ", ".join(f"seed {seed}: {value:z.0f} s" for seed, value in sorted(seconds.items()))
    return f"Work on all deployments and attacks, over all sittings: {told}." if told else ""


def _rule(experiment: Experiment) -> str:
    """When a direction holds, in the metrics of its table."""
    columns = leaks(experiment.shown)
    least = [_of(column, column.resolved) for column in columns if column.resolved]
    margins = [_of(column, column.margin) for column in columns if column.margin is not None]
    none = f"; a difference of {' or '.join(least)} is none" if least else ""
    failed = (
        f" Nothing is concluded from an attack that is not above the floor ({', '.join(margins)}), "
        "and where it fails on the side that leaks less that proves no protection"
        if margins
        else ""
    )
    asked = any("observe" in one.knows for one in experiment.measurements)
    ceiling = ": the decoder with queries tells what is there to be read" if asked else ""
    end = f"{failed}{ceiling}." if failed else ""
    return f"A direction holds where every seed can be judged and holds{none}.{end}"


def _of(column: Quantity, value: float) -> str:
    return f"{value}{column.suffix or f' of {column.title or column.name}'}"


def _leaking(summary: Summary) -> list[Quantity]:
    """The columns that say what leaks, in the table's order."""
    return [one for one in summary.columns if not isinstance(one, FactColumn)]


def _figure(row: RowSummary, summary: Summary) -> str:
    own = ((column, row.metrics[column.name]) for column in _leaking(summary))
    return " / ".join(shown(*one) + one[0].suffix for one in own)


def _drawn(images: Path, point: str, columns: int) -> tuple[str, str] | None:
    """(truth, estimates) of a record's grid; ("", picture) of one that shows both in one."""
    if (pair := strips(images / f"{point}.png", columns)) is not None:
        return pair
    one = data_uri(images / f"{point}.svg")
    return None if one is None else ("", one)


def _pictures(images: Path, summary: Summary) -> list[dict[str, str]]:
    """Truth, then each row's estimates of the same victims, of the first seed."""
    found: list[dict[str, str]] = []
    for row in summary.rows:
        first = next(iter(row.records.values()), None)
        pair = None if first is None or row.row.cell else _drawn(images, first, COLUMNS)
        if pair is None:
            continue
        if not found and pair[0]:
            found.append({"label": "Truth", "attack": "", "figure": "", "data": pair[0]})
        line = {"label": row.row.label, "attack": row.row.attack, "figure": _figure(row, summary)}
        found.append({**line, "data": pair[1]})
        for path in sorted(images.glob(f"{first}-*.png")):
            what = path.stem.removeprefix(f"{first}-")
            found.append({**line, "figure": what, "data": data_uri(path) or ""})
    return found


def _matrices(images: Path, summary: Summary) -> list[dict[str, Any]]:
    """One grid for each way of attacking, where the rows are cells of a grid."""
    attacks = dict.fromkeys(row.row.attack for row in summary.rows if row.row.cell)
    return [_matrix(images, summary, attack) for attack in attacks]


def _matrix(images: Path, summary: Summary, attack: str) -> dict[str, Any]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    truth = ""
    for row in summary.rows:
        if row.row.attack != attack or row.row.cell is None:
            continue
        first = next(iter(row.records.values()), "")
        pair = _drawn(images, first, CELL_COLUMNS)
        truth = truth or (pair[0] if pair else "")
        text = f"skipped ({row.why})" if row.why else _figure(row, summary)
        cells[row.row.cell] = {"data": pair[1] if pair else "", "figure": text}
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    blank = {"data": "", "figure": summary.experiment.gap}
    return {
        "attack": attack,
        "truth": truth,
        "columns": columns,
        "lines": [
            (line, [cells.get((line, column), blank) for column in columns]) for line in lines
        ],
    }


def _doubts(summary: Summary) -> list[str]:
    own = [
        f"{row.row.label}, {row.row.attack}, {doubt}"
        for row in summary.rows
        for doubt in row.doubts
    ]
    return [*summary.doubts, *own]
