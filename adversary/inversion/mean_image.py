"""The floor: the mean auxiliary image as the answer to everything. No attack is worth less."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from adversary.contract.attack import Attack, FittedOn
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from splitlab.contracts import Estimate, Features
from splitlab.data import ImageSet


def mean_image(images: ImageSet) -> Tensor:
    """[3, S, S] in [0, 1]: the constant answer with the least mean squared error over `images`."""
    return images.images.double().mean(0).div_(255).float()


class MeanImage(Attack):
    """Answers with the mean auxiliary image, whatever was captured."""

    name: ClassVar[str] = "mean-image"
    source: ClassVar[str] = "the constant predictor"
    fitted_on: ClassVar[FittedOn] = "nothing"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset(),
        "adaptive": frozenset(),
        "unaware": frozenset(),
    }

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del rng, work
        answer = mean_image(threat.need("aux", self.name).images)

        def reconstruct(seen: Features) -> Estimate:
            return Estimate(answer.expand(len(seen.ids), *answer.shape).clone())

        return reconstruct
