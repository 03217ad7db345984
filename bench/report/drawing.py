"""Figures as inline SVG, and colours of curves that are told apart in print as well."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

COLOURS = ("#1f5fa8", "#c2502e", "#3d8b54", "#8457a3", "#a8812a", "#4a9aa3", "#882255", "#332288")


@contextmanager
def drawing(**more: Any) -> Iterator[Any]:
    """pyplot without a screen; the same text for the same figure, with `more` of its settings."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "splitlab", "font.size": 9, **more}
    with plt.rc_context(style):
        yield plt


def inline(plt: Any, figure: Any) -> str:
    """The figure as `<svg>`, and closed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    return text[text.index("<svg") :]
