"""Does leakage fall with depth? Spearman's rank correlation of it with the split point."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from bench.report.quantities import headline, value_in
from bench.sweep.wires import other_wire
from splitlab.record import Record

FEWEST = 4  # split points below which a rank correlation says nothing


def depth_correlations(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One entry for each attack with its knowledge: Spearman's rho between the index of the split
    point and what is revealed there, by the number that the attack is judged by; ties share their
    rank. None with fewer than four split points.
    """
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for record in records:
        quantity = headline(record)
        value = value_in(record.leakage, quantity)
        if value is not None:
            name = f"{record.config['attack']}, {record.config['knowledge']}"
            if (wire := other_wire(record)) is not None:
                name += f", {wire}"
            lines[name].append((record.split["index"], quantity.gain(value, 0.0)))
    found = []
    for name, points in sorted(lines.items()):
        rho = None
        if len(points) >= FEWEST and len({leak for _, leak in points}) > 1:
            from scipy.stats import spearmanr  # seconds, which most small runs need not wait for

            rho = round(float(spearmanr(*zip(*points, strict=True)).statistic), 4) + 0.0
        found.append({"attack": name, "split_points": len(points), "spearman": rho})
    return found
