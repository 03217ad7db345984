"""Who is a member, by how sure the network is of a record: Yeom et al. 2018, Salem et al. 2019.

A threshold on one number of each record; which threshold is the reader's, on the ROC curve. `loss`
knows the record's class (Yeom et al., "Privacy Risk in Machine Learning", Adversary 2; where only
the label is told, their Adversary 1: a member is who is classified rightly). `threshold` does not
(Salem et al., "ML-Leaks", section 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from adversary.contract.attack import Attack, FittedOn
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from splitlab.contracts import Estimate, Kind, Scores, Seen
from splitlab.contracts.kinds import MEMBERSHIP
from splitlab.errors import BadInput

Statistic = Literal["confidence", "entropy"]


def log_probabilities(scores: Scores) -> Tensor:
    """float64 [n, classes].

    Raises:
        BadInput: only the label was told.
    """
    if scores.answers == "label":
        raise BadInput("the network tells its label alone; take an attack that needs no scores")
    values = scores.scores.double()
    if scores.answers == "logits":
        return values.log_softmax(1)
    return values.clamp_min(torch.finfo(torch.float64).tiny).log()


def negative_loss(scores: Scores, labels: Tensor) -> Tensor:
    """float64 [n]: log probability of the true class, or 1 where the label told is right, else 0.

    Args:
        labels: int64 [n].
    """
    if scores.answers == "label":
        return (scores.scores == labels).double()
    return log_probabilities(scores).gather(1, labels[:, None])[:, 0]


def sureness(scores: Scores, statistic: Statistic) -> Tensor:
    """float64 [n]: log of the largest probability, or the negative entropy in nats."""
    told = log_probabilities(scores)
    return told.amax(1) if statistic == "confidence" else (told.exp() * told).sum(1)


class OnScores(Attack):
    """What both have in common: nothing is learned, and to know of a defence is of no use to them:
    none of them has an adaptive row.
    """

    sees: ClassVar[tuple[type[Seen], ...]] = (Scores,)
    estimates: ClassVar[Kind] = MEMBERSHIP
    fitted_on: ClassVar[FittedOn] = "nothing"
    learns: ClassVar[bool] = False


class LossThreshold(OnScores):
    """The smaller the loss on a record, the likelier it is a member's."""

    name: ClassVar[str] = "loss"
    source: ClassVar[str] = "Yeom et al. 2018, arXiv:1709.01604, Adversaries 1 and 2"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"labels"}),
        "unaware": frozenset({"labels"}),
    }

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del threat, rng, work

        def estimate(scores: Scores) -> Estimate:
            if scores.labels is None:
                raise BadInput("loss needs the records' classes; show it Scores with labels")
            return Estimate(negative_loss(scores, scores.labels).float())

        return estimate


class Threshold(OnScores):
    """The surer the network of whatever it answers, the likelier the record is a member's."""

    name: ClassVar[str] = "threshold"
    source: ClassVar[str] = "Salem et al. 2019, ML-Leaks, arXiv:1806.01246, section 5"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset(),
        "unaware": frozenset(),
    }

    statistic: Annotated[
        Statistic, Field(description="largest probability, or entropy of all of them")
    ] = "confidence"

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del threat, rng, work
        return lambda scores: Estimate(sureness(scores, self.statistic).float())
