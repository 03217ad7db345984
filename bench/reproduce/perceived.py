"""LPIPS of an experiment's rows, by whatever backbone has weights here, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.reproduce.experiment import ExtraTable, Found
from splitlab.record import Record

BACKBONES = ("alex", "squeeze")
NOTE = (
    "Smaller is nearer to the image. The paper's backbone is not named; alex is LPIPS's default. "
    "Without its weights a backbone is n/a, see --lpips-weights; numbers of two do not compare."
)


def lpips_tables(
    found: Found, rows: Sequence[tuple[str, str]], paper: Mapping[str, float]
) -> list[ExtraTable]:
    """One line a row, means over seeds.

    Args:
        rows: (label, key of the measurement).
        paper: key -> the paper's number.
    """
    lines = []
    for label, key in rows:
        made = [r for own in found.values() if isinstance(r := own.get(key), Record)]
        if made:
            own = [_mean(made, f"lpips_{backbone}") for backbone in BACKBONES]
            lines.append((label, *own, f"{paper[key]:g}" if key in paper else ""))
    columns = ("row", *(f"LPIPS ({backbone})" for backbone in BACKBONES), "paper: LPIPS")
    return [ExtraTable("As an eye would see it", columns, tuple(lines), NOTE)]


def _mean(records: Sequence[Record], metric: str) -> str:
    values = [
        mean
        for record in records
        if metric in record.leakage and (mean := record.leakage[metric].mean) is not None
    ]
    return f"{sum(values) / len(values):.3f}" if len(values) == len(records) else "n/a"
