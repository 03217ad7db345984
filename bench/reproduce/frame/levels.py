"""Curves as SVG: utility and defence against a level, quality against depth."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from bench.report.colours import COLOURS
from splitlab.metrics.image.psnr import METRIC as PSNR


@dataclass(frozen=True)
class Curve:
    """One defence.

    Args:
        points: (level, accuracy in %, 100 / PSNR in 1/dB).
    """

    name: str
    points: tuple[tuple[float, float, float], ...]


def levels_figure(curves: Sequence[Curve]) -> str:
    """An inline `<svg>`, a panel a defence: accuracy to the left, 100 / PSNR to the right."""
    with _drawing() as plt:
        figure, axes = plt.subplots(
            1, len(curves), figsize=(3.6 * len(curves), 3.2), layout="constrained", squeeze=False
        )
        highest = max((p[2] for curve in curves for p in curve.points), default=1.0)
        for axis, curve in zip(axes[0], curves, strict=True):
            levels = [level for level, _, _ in curve.points]
            accuracy = [value for _, value, _ in curve.points]
            hidden = [value for _, _, value in curve.points]
            axis.plot(levels, accuracy, marker="o", ms=4, color=COLOURS[0])
            axis.set(title=curve.name, xlabel="level", ylim=(0, 100))
            axis.set_ylabel("accuracy [%]", color=COLOURS[0])
            other = axis.twinx()
            other.plot(levels, hidden, marker="s", ms=4, color=COLOURS[1])
            other.set_ylabel("100 / PSNR", color=COLOURS[1])
            other.set_ylim(0, 1.1 * highest)
        return _inline(plt, figure)


class Depth(NamedTuple):
    """One depth: mean PSNR in dB, and the interval around it."""

    block: int
    mean: float
    low: float
    high: float


def depth_figure(points: Sequence[Depth]) -> str:
    """An inline `<svg>`: PSNR against the number of blocks, with its band."""
    with _drawing() as plt:
        figure, axis = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
        blocks = [point.block for point in points]
        axis.plot(blocks, [p.mean for p in points], marker="o", ms=4, color=COLOURS[0])
        lows, highs = [p.low for p in points], [p.high for p in points]
        axis.fill_between(blocks, lows, highs, alpha=0.2, color=COLOURS[0], lw=0)
        axis.set(xlabel="blocks inverted", ylabel=PSNR.heading, xticks=blocks)
        return _inline(plt, figure)


@contextmanager
def _drawing() -> Iterator[Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "splitlab", "font.size": 9}
    with plt.rc_context(style):
        yield plt


def _inline(plt: Any, figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
