"""Who was a member: the area under the ROC curve, and the members found at a few false alarms.

At a low rate of false alarms, as Carlini et al. 2022 ("Membership Inference Attacks From First
Principles", section 3) ask for: an attack that names one member for certain leaks, whatever it
does on average. Scores are larger for members; their scale says nothing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from splitlab.contracts.metric import Context, Metric, PerDraw, PerSet, Prepare, Rows
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
    alarms, hits = _curves(member, scores, torch.ones(1, len(member), dtype=torch.float64))
    return alarms[0], hits[0]


def _curves(member: Tensor, scores: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The curves of many weightings [n, B] of the records, float64 [n, K + 1] each; NaN without
    members or without others.
    """
    ordered, order = scores.double().sort(descending=True)
    last = torch.ones_like(ordered, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    rates = []
    for ones in (~member, member):
        called = (weights[:, order] * ones[order]).cumsum(1)
        called = torch.nn.functional.pad(called[:, last], (1, 0))
        rates.append(called / called[:, -1:])
    return rates[0], rates[1]


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


def _rows_of_enough(fpr: float, others: int) -> Prepare:
    def rows(truth: Tensor, estimate: Tensor, context: Context) -> Rows:
        del context
        member = truth.bool()
        if (there := int((~member).sum())) < others:
            raise Unavailable(
                f"{there} records that are no members; {100 * fpr:g} % of them are too few false "
                f"alarms to tell a rate by, which takes {others:,}: give more victims"
            )
        return member, estimate

    return rows


def _aucs(rows: Rows, weights: Tensor) -> Tensor:
    alarms, hits = _curves(*rows, weights)
    return torch.trapezoid(hits, alarms)


def _at(fpr: float) -> tuple[PerSet, PerDraw]:
    def each(rows: Rows, weights: Tensor) -> Tensor:
        alarms, hits = _curves(*rows, weights)
        return 100.0 * hits.where(alarms <= fpr, alarms * 0).amax(1)  # NaN stays NaN

    return lambda rows: tpr_at(rows[0], rows[1], fpr), each


AUC = Metric(
    "membership_auc",
    "1",
    "rises",
    title="AUC",
    margin=0.02,
    resolved=0.01,
    bounds=(0.0, 1.0),
    prepare=_rows,
    per_set=lambda rows: auc(rows[0], rows[1]),
    per_draw=_aucs,
)
# One false alarm at least is allowed at 1 %, ten at 0.1 %, where each weighs ten times as much.
TPR_AT_1, TPR_AT_TENTH = (
    Metric(
        f"membership_tpr_at_{name}",
        "%",
        "rises",
        title=f"TPR at {100 * fpr:g} % FPR",
        digits=Digits(table=1, brief=1, means=1),
        bounds=(0.0, 100.0),
        prepare=_rows_of_enough(fpr, others),
        per_set=_at(fpr)[0],
        per_draw=_at(fpr)[1],
    )
    for name, fpr, others in (("1_percent", 0.01, 100), ("0.1_percent", 0.001, 10_000))
)
