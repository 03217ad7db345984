"""The page of a reproduction: one HTML file without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.point.kept import kept_told
from bench.report.grids import strips
from bench.report.page import filled, missing_columns
from bench.report.settings_table import setting_groups
from bench.reproduce.frame.experiment import Experiment
from bench.reproduce.frame.quantities import QUANTITIES
from bench.reproduce.frame.summary import METRICS, RowSummary, Summary
from bench.reproduce.frame.table import floor_lines, has_paper, printed, ranged, shown
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
        quantities=QUANTITIES,
        paper=has_paper(summary),
        titles=[QUANTITIES[metric].heading for metric in METRICS],
        rows=[_line(row) for row in summary.rows],
        floors=_floors(summary),
        figure=summary.figure,
        tables=summary.tables,
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


def _line(row: RowSummary) -> dict[str, Any]:
    """One row of the table, as text."""
    return {
        "label": row.row.label,
        "attack": row.row.attack,
        "floor": False,
        "why": row.why,
        "cells": [(shown(m, row.metrics[m]), ranged(m, row.metrics[m])) for m in METRICS],
        "paper": [printed(row.row.paper.get(m)) for m in METRICS],
    }


def _floors(summary: Summary) -> list[dict[str, Any]]:
    """A line of the table for each floor, as text."""
    return [
        {
            "label": "Floor",
            "attack": told,
            "floor": True,
            "why": "",
            "cells": [(shown(m, floor[m]), ranged(m, floor[m])) for m in METRICS],
            "paper": [""] * len(METRICS),
        }
        for told, floor in floor_lines(summary)
    ]


def _figure(row: RowSummary) -> str:
    return f"{shown('ssim', row.metrics['ssim'])} / {shown('psnr', row.metrics['psnr'])} dB"


def _pictures(images: Path, summary: Summary) -> list[dict[str, str]]:
    """Truth, then each row's reconstructions of the same victims, of the first seed."""
    found: list[dict[str, str]] = []
    for row in summary.rows:
        first = next(iter(row.records.values()), None)
        pair = None if first is None or row.row.cell else strips(images / f"{first}.png")
        if pair is None:
            continue
        if not found:
            found.append({"label": "Truth", "attack": "", "figure": "", "data": pair[0]})
        line = {"label": row.row.label, "attack": row.row.attack, "figure": _figure(row)}
        found.append({**line, "data": pair[1]})
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
        pair = strips(images / f"{first}.png", CELL_COLUMNS)
        truth = truth or (pair[0] if pair else "")
        text = f"skipped ({row.why})" if row.why else _figure(row)
        cells[row.row.cell] = {"data": pair[1] if pair else "", "figure": text}
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    blank = {"data": "", "figure": "no body is left between head and tail"}
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
