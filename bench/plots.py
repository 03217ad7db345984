"""The report's figure: leakage, utility, rate and latency against the split point, as one SVG."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from bench.latency.chart import latency_panel
from splitlab.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#1f5fa8", "#c2502e", "#3d8b54", "#8457a3", "#a8812a", "#4a9aa3", "#882255", "#332288")


def sweep_figure(records: Sequence[Record]) -> str:
    """An inline `<svg>` with four panels over the split points in network order."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = [n for _, n in sorted({(r.split["index"], r.split["name"]) for r in records})]
    style: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "splitlab",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(2, 2, figsize=(10.5, 6.4), layout="constrained")
        _leakage(axes[0][0], records, names, "psnr", "PSNR of the reconstruction [dB]")
        _leakage(axes[0][1], records, names, "ssim", "SSIM of the reconstruction")
        _utility_and_rate(axes[1][0], records, names)
        latency_panel(axes[1][1], _one_a_place(records, names))
        for axis in axes.flat:
            axis.set_xticks(range(len(names)), names, rotation=25, ha="right")
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _leakage(
    axis: Axes, records: Sequence[Record], names: list[str], metric: str, label: str
) -> None:
    lines: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    floor: dict[int, float] = {}
    for record in records:
        value, base = record.leakage.get(metric), record.floor.get(metric)
        place = names.index(record.split["name"])
        if value is not None and value.mean is not None:
            name = f"{record.config['attack']}, {record.config['knowledge']}"
            lines[name].append((place, value))
        if base is not None and base.mean is not None:
            floor[place] = max(base.mean, floor.get(place, base.mean))
    for colour, (name, points) in zip(cycle(COLOURS), sorted(lines.items()), strict=False):
        points.sort(key=lambda p: p[0])
        where = [p for p, _ in points]
        means = [v.mean for _, v in points]
        axis.plot(where, means, marker="o", ms=4, color=colour, label=name)
        if all(v.low is not None and v.high is not None for _, v in points):
            low, high = [v.low for _, v in points], [v.high for _, v in points]
            axis.fill_between(where, low, high, color=colour, alpha=0.15, lw=0)
    if floor:
        where = sorted(floor)
        axis.plot(where, [floor[p] for p in where], "--", color="#777", label="floor: mean image")
    axis.set_ylabel(label)
    axis.legend(fontsize=8, frameon=False)


def _one_a_place(records: Sequence[Record], names: list[str]) -> list[Record]:
    """The first record of each split point; utility, rate and latency are the same in all."""
    seen: dict[str, Record] = {}
    for record in records:
        seen.setdefault(record.split["name"], record)
    return [seen[name] for name in names if name in seen]


def _utility_and_rate(axis: Axes, records: Sequence[Record], names: list[str]) -> None:
    found = _one_a_place(records, names)
    where = range(len(found))
    axis.bar(where, [r.rate["payload_up"] / 1024 for r in found], color="#b9cde3", width=0.6)
    axis.set_ylabel("payload up [KiB / image]")
    other = axis.twinx()
    other.spines["top"].set_visible(False)
    other.grid(visible=False)
    other.plot(where, [r.utility["accuracy"] for r in found], "o-", ms=4, color="#3d8b54")
    other.set_ylabel("accuracy [%]", color="#3d8b54")
    other.set_ylim(0, 100)
