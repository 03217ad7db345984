"""Who was a member: the area under the ROC curve, and the members found at a few false alarms.

At a low rate of false alarms, as Carlini et al. 2022 ("Membership Inference Attacks From First
Principles", section 3) ask for: an attack that names one member for certain leaks, whatever it
does on average. Scores are larger for members; their scale says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from splitlab.contracts.metric import Context, Metric, Rows
from splitlab.contracts.quantity import Digits
from splitlab.errors import Unavailable


def roc(member: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The ROC curve, a point for each threshold that changes anything.

    Args:
        member: bool [B].
        scores: float [B]; "score >= threshold" is called a member, so that ties fall together.

    Returns:
        false and true positive rates, float64 [K + 1] each from 0 to 1, for K different scores.

    Raises:
        Unavailable: there are no members, or no others.
    """
    yes = int(member.sum())
    no = len(member) - yes
    if not yes or not no:
        raise Unavailable(
            f"{yes} members and {no} others; a rate of either needs at least one of both"
        )
    ordered, order = scores.double().sort(descending=True)
    found = member[order].double().cumsum(0)
    called = torch.arange(1, len(ordered) + 1, dtype=torch.float64, device=ordered.device)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    hits, alarms = found[last] / yes, (called - found)[last] / no
    start = torch.zeros(1, dtype=torch.float64, device=ordered.device)
    return torch.cat([start, alarms]), torch.cat([start, hits])


def auc(member: Tensor, scores: Tensor) -> float:
    """Probability that a member's score is above another record's; ties count half. 0.5: chance."""
    alarms, hits = roc(member, scores)
    return float(torch.trapezoid(hits, alarms))


def tpr_at(member: Tensor, scores: Tensor, fpr: float) -> float:
    """Largest share of members found, in %, at a threshold with at most this rate of false alarms.

    Args:
        fpr: false alarms among the others, 0 to 1.
    """
    alarms, hits = roc(member, scores)
    return 100.0 * float(hits[alarms <= fpr].max())


def one_score(own: Any) -> Tensor:
    """The floor: the same score for every record, which is chance."""
    del own
    return torch.zeros(())


def _rows(truth: Tensor, estimate: Tensor, context: Context) -> Rows:
    del context
    return truth.bool(), estimate


def _at(fpr: float) -> Callable[[Rows], float]:
    return lambda rows: tpr_at(rows[0], rows[1], fpr)


AUC = Metric(
    "membership_auc",
    "1",
    "rises",
    title="AUC",
    margin=0.02,
    resolved=0.01,
    bounds=(0.0, 1.0),
    prepare=_rows,
    resamples=1_000,
    per_set=lambda rows: auc(rows[0], rows[1]),
)
TPR_AT_1, TPR_AT_TENTH = (
    Metric(
        f"membership_tpr_at_{name}",
        "%",
        "rises",
        title=f"TPR at {100 * fpr:g} % FPR",
        digits=Digits(table=1, brief=1, means=1),
        bounds=(0.0, 100.0),
        prepare=_rows,
        resamples=1_000,
        per_set=_at(fpr),
    )
    for name, fpr in (("1_percent", 0.01), ("0.1_percent", 0.001))
)
