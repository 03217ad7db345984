"""The report's figure: leakage, utility, rate and latency against the split point, as one SVG."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.latency.chart import latency_panel
from bench.report.drawing import COLOURS, drawing, inline
from bench.report.floors import floors
from bench.report.quantities import floor_briefly, headlines
from splitlab.metrics.image.psnr import METRIC as PSNR
from splitlab.metrics.image.ssim import METRIC as SSIM
from splitlab.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKS = ("o", "s", "^", "D")
"""Of lines, where there are more of them than colours."""
DASHES: Any = ((0, (5, 3)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (10, 3)))
"""Of floors, one for each set of victims."""
PANEL = (4.9, 3.3)
"""Inches: at the width of a telephone letters of 9 points keep most of their size."""
RECONSTRUCTION = " of the reconstruction"


def sweep_figure(records: Sequence[Record]) -> str:
    """Four inline `<svg>`, each a panel over the split points in network order.

    They are drawings of their own so that a page can stand them side by side or one below another,
    with letters of a size that can be read.
    """
    names = [n for _, n in sorted({(r.split["index"], r.split["name"]) for r in records})]
    panels: list[tuple[str, Callable[[Axes], None]]] = [
        (
            f"{title} against the split point",
            partial(_leakage, records=records, names=names, metric=m, label=title),
        )
        for m, title in _drawn(records).items()
    ]
    panels += [
        (
            "Payload per image and accuracy against the split point",
            lambda axis: _utility_and_rate(axis, records, names),
        ),
        (
            "Latency of a request by stage against the split point",
            lambda axis: latency_panel(axis, _one_a_place(records, names)),
        ),
    ]
    return "\n".join(_panel(title, draw, names) for title, draw in panels)


def _drawn(records: Sequence[Record]) -> dict[str, str]:
    """Metric -> label: of reconstructions PSNR and SSIM, of other kinds their headline."""
    found: dict[str, str] = {}
    for one in headlines(records):
        if one.name == PSNR.name:
            both = (PSNR, SSIM)
            found |= {m.name: m.heading_with(RECONSTRUCTION) for m in both}
        else:
            found[one.name] = one.heading
    return found


def _panel(title: str, draw: Callable[[Axes], None], names: list[str]) -> str:
    """One `<svg>` with its alternative text."""
    bare = {"axes.spines.top": False, "axes.spines.right": False}
    with drawing(**bare, **{"axes.grid": True, "grid.alpha": 0.25}) as plt:
        figure, axis = plt.subplots(figsize=PANEL, layout="constrained")
        draw(axis)
        axis.set_xticks(range(len(names)), names, rotation=25, ha="right")
        drawn = inline(plt, figure)
    drawn = re.sub(r'<g id="[^"]*"', "<g", drawn)  # ids of one page are unique
    return drawn.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


def _leakage(
    axis: Axes, records: Sequence[Record], names: list[str], metric: str, label: str
) -> None:
    lines: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    colours: dict[str, list[str]] = defaultdict(list)
    for record in records:
        value = record.leakage.get(metric)
        place = names.index(record.split["name"])
        if value is not None and value.mean is not None:
            name = f"{record.config['attack']}, {record.config['knowledge']}"
            lines[name].append((place, value))
    for number, (name, points) in enumerate(sorted(lines.items())):
        colour = COLOURS[number % len(COLOURS)]
        colours[name.partition(", ")[0]].append(colour)
        points.sort(key=lambda p: p[0])
        where = [p for p, _ in points]
        means = [v.mean for _, v in points]
        mark = MARKS[number // len(COLOURS) % len(MARKS)]
        axis.plot(where, means, marker=mark, ms=4, color=colour, label=name)
        if all(v.low is not None and v.high is not None for _, v in points):
            low, high = [v.low for _, v in points], [v.high for _, v in points]
            axis.fill_between(where, low, high, color=colour, alpha=0.15, lw=0)
    own_kind = [record for record in records if metric in record.leakage]
    shared = floors(records, metric)
    for number, floor in enumerate(shared):
        where = [place for place, name in enumerate(names) if name in floor.values]
        heights = [floor.values[names[place]] for place in where]
        dashes = DASHES[number % len(DASHES)]
        name = f"floor of {floor.told}" if len(shared) > 1 else f"floor: {floor_briefly(own_kind)}"
        own = colours[floor.attacks[0]] if len(shared) > 1 and len(floor.attacks) == 1 else []
        colour = own[0] if len(own) == 1 else "#666"
        axis.plot(where, heights, linestyle=dashes, color=colour, label=name)
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
    other.plot(where, [r.utility["accuracy"] for r in found], "o-", ms=4, color="#2c6e41")
    other.set_ylabel("accuracy [%]", color="#2c6e41")
    other.set_ylim(0, 100)
