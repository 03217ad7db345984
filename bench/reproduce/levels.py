"""Utility and defence against the level of a defence, as one SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.plots import COLOURS


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
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "splitlab", "font.size": 9}
    with plt.rc_context(style):
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
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
