"""What each contender had at each time: the curve of its PSNR and SSIM against CPU seconds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from splitlab.storage import write_bytes

READINGS = "readings.csv"
COLUMNS = ("split", "contender", "kind", "budget_seconds", "seconds", "psnr", "ssim")
OWN_END = "at its end"


def write_readings(folder: Path, summary: Mapping[str, Any]) -> None:
    """`readings.csv`: a line for each contender, split point and time; whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(_readings(summary))
    write_bytes(folder / READINGS, text.getvalue().encode())


def readings_table(summary: Mapping[str, Any]) -> Table:
    """A row for each contender at each split point; ours end by themselves.

    Args:
        summary: of `bench.perf.attacks.table.summary_of`.
    """
    budgets = summary["settings"]["budgets"]
    drawn = Table(
        title="Each contender by itself",
        caption="PSNR in dB / SSIM, means over the victims of all seeds",
        header_style="bold",
        pad_edge=False,
    )
    for title in ("split point", "contender", *(f"{one:g} s" for one in budgets), OWN_END):
        drawn.add_column(title)
    before = None
    for one in summary["contenders"]:
        first = before != one["split"]
        if first and before is not None:
            drawn.add_section()
        before = one["split"]
        cells = {read["budget_seconds"]: _cell(read) for read in one["readings"]}
        name = one["contender"].replace(":", ": ").replace(",", ", ")
        drawn.add_row(
            one["split"] if first else "",
            name,
            *(cells.get(budget, "") for budget in budgets),
            cells.get(None, ""),
        )
    return drawn


def _cell(read: Mapping[str, Any]) -> str:
    took = "" if read["budget_seconds"] is not None else f" in {read['seconds']:z.0f} s"
    return f"{read['psnr']:z.1f} / {read['ssim']:z.3f}{took}"


def _readings(summary: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for one in summary["contenders"]:
        for read in one["readings"]:
            yield {**one, **read}
