"""LPIPS of an experiment's rows, by whatever backbone has weights here, beside the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.reproduce.frame.experiment import ExtraTable, Found
from splitlab.metrics import METRICS
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


def lpips_orders(found: Found, pairs: Sequence[tuple[str, str, str]]) -> list[ExtraTable]:
    """Directions by what an eye would see, which no claim judges: means over seeds.

    Args:
        pairs: (label, key of what should be nearer to the image, key of the other).
    """
    lines = []
    for label, key, than in pairs:
        both = [(o[key], o[than]) for o in found.values() if key in o and than in o]
        made = [(a, b) for a, b in both if isinstance(a, Record) and isinstance(b, Record)]
        for backbone in BACKBONES if made else ():
            metric = f"lpips_{backbone}"
            ours, others = (_mean([pair[side] for pair in made], metric) for side in (0, 1))
            if "n/a" in (ours, others):
                continue
            nearer = sum(_number(a, metric) < _number(b, metric) for a, b in made)
            lines.append((label, backbone, ours, others, f"{nearer} of {len(made)} seeds"))
    columns = ("direction", "backbone", "LPIPS", "of the other", "holds in")
    return [ExtraTable("Directions by LPIPS", columns, tuple(lines))] if lines else []


def _number(record: Record, metric: str) -> float:
    mean = record.leakage[metric].mean
    assert mean is not None  # such pairs were left out
    return mean


def _mean(records: Sequence[Record], metric: str) -> str:
    values = [
        mean
        for record in records
        if metric in record.leakage and (mean := record.leakage[metric].mean) is not None
    ]
    shown: str = METRICS.load(metric).mean(sum(values) / len(values)) if values else "n/a"
    return shown if len(values) == len(records) else "n/a"
