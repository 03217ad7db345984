"""Who is found at how many false alarms: a ROC curve as SVG, with logarithmic axes.

Logarithmic as in Carlini et al. 2022, Figure 2: what counts is the left end.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from bench.report.drawing import COLOURS, drawing, inline
from splitlab.metrics.membership import AUC, auc, roc
from splitlab.storage import write_bytes

LEAST = 1e-3
"""Of either rate, where the axes begin."""


def roc_svg(member: Tensor, scores: Tensor) -> str:
    """An `<svg>`: the curve, and the diagonal of chance.

    Args:
        member: bool [n].
        scores: float [n], larger for members.

    Raises:
        Unavailable: there are no members, or no others.
    """
    alarms, hits = roc(member, scores)
    told = f"{AUC.title} {AUC.number(auc(member, scores))}"
    with drawing() as plt:
        figure, axis = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
        axis.plot([LEAST, 1], [LEAST, 1], linestyle=":", color="#666", label="chance")
        axis.plot(alarms.tolist(), hits.tolist(), color=COLOURS[0], label=told)
        axis.set(xscale="log", yscale="log", xlim=(LEAST, 1), ylim=(LEAST, 1.05))
        axis.set(xlabel="false positive rate", ylabel="true positive rate")
        axis.legend(frameon=False, loc="lower right")
        return inline(plt, figure)


def save_roc(path: Path, truth: Tensor, values: Tensor) -> None:
    """Write the curve of one point, atomically."""
    write_bytes(path, roc_svg(truth, values).encode())
