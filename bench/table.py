"""One table of a sweep's records, as data; the terminal and the report draw the same one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from splitlab.record import Interval, Record

TITLES = {
    "mse": "MSE",
    "psnr": "PSNR [dB]",
    "ssim": "SSIM",
    "lpips_alex": "LPIPS alex",
    "lpips_vgg": "LPIPS vgg",
    "lpips_squeeze": "LPIPS squeeze",
    "reidentified_by_pixels": "re-id [%]",
    "reidentified_by_features": "re-id, features [%]",
}
SHOWN = ("psnr", "ssim", "lpips_alex", "lpips_squeeze", "reidentified_by_pixels")
DIGITS = {"psnr": 1, "reidentified_by_pixels": 0, "reidentified_by_features": 0}


@dataclass(frozen=True)
class Cell:
    text: str
    interval: str = ""


@dataclass(frozen=True)
class Row:
    cells: tuple[Cell, ...]
    best: bool


@dataclass(frozen=True)
class SweepTable:
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str


def sweep_table(records: Sequence[Record], recommended: str | None) -> SweepTable:
    """A row for each split point and attack; metrics that no record could compute are left out."""
    metrics = [
        m for m in SHOWN if any(m in r.leakage and r.leakage[m].mean is not None for r in records)
    ]
    columns = (
        "split point",
        "attack",
        "knowledge",
        *(TITLES[m] for m in metrics),
        "floor [dB]",
        "ceiling [dB]",
        "accuracy [%]",
        "KiB up",
        "client MACs [%]",
        "p50 [ms]",
    )
    ceilings = ceiling(records)
    rows = []
    for record in records:
        name = record.split["name"]
        macs = record.split["head_macs"] + record.split["rest_macs"]
        top = ceilings.get(name)
        floor = record.floor.get("psnr")
        cells = [
            Cell(name),
            Cell(str(record.config["attack"])),
            Cell(str(record.config["knowledge"])),
            *(_metric(m, record.leakage.get(m)) for m in metrics),
            Cell(f"{floor.mean:.1f}" if floor and floor.mean is not None else "n/a"),
            Cell(f"{top:.1f}" if top is not None else "n/a"),
            Cell(f"{record.utility['accuracy']:.1f}"),
            Cell(f"{record.rate['payload_up'] / 1024:.1f}"),
            Cell(f"{100 * record.split['head_macs'] / max(macs, 1):.0f}"),
            Cell(f"{record.latency.get('total', {}).get('p50', float('nan')):.1f}"),
        ]
        rows.append(Row(tuple(cells), best=name == recommended))
    note = (
        "Mean and 95 % bootstrap interval over independent groups of victims. Floor: answering "
        "with the mean auxiliary image, on the same victims. Ceiling: the decoder with "
        "chosen-input queries on the same split point. Latency is of a whole request of the "
        "client, over loopback."
    )
    return SweepTable(columns, tuple(rows), note)


def ceiling(records: Sequence[Record]) -> dict[str, float]:
    """PSNR in dB of the decoder with queries at each split point."""
    found: dict[str, float] = {}
    for record in records:
        value = record.leakage.get("psnr")
        queried = record.config["attack"] == "decoder" and record.threat.get("observe")
        if queried and value is not None and value.mean is not None:
            name = record.split["name"]
            found[name] = max(value.mean, found.get(name, value.mean))
    return found


def _metric(name: str, value: Interval | None) -> Cell:
    if value is None or value.mean is None:
        return Cell("n/a")
    digits = DIGITS.get(name, 3)
    interval = ""
    if value.low is not None and value.high is not None:
        interval = f"{value.low:.{digits}f}..{value.high:.{digits}f}"
    return Cell(f"{value.mean:.{digits}f}", interval)


def rich_table(table: SweepTable, title: str) -> Table:
    """The same table for a terminal; intervals stand in the report only."""
    drawn = Table(title=title, header_style="bold", row_styles=["", "dim"])
    for index, column in enumerate(table.columns):
        drawn.add_column(column, justify="left" if index < 3 else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(c.text for c in row.cells), style="bold cyan" if row.best else None)
    return drawn
