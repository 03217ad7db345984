"""The floor: the mean auxiliary image as the answer to everything. No attack is worth less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from adversary.contract.attack import Attack, Estimate, FittedOn, Observation, Reconstruct
from adversary.contract.threat import ThreatModel
from splitlab.data import ImageSet
from splitlab.training import Progress


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

    def fit(
        self,
        threat: ThreatModel,
        rng: torch.Generator,  # noqa: ARG002
        *,
        device: str = "cpu",  # noqa: ARG002
        progress: Progress | None = None,  # noqa: ARG002
        checkpoint: Path | None = None,  # noqa: ARG002
    ) -> Reconstruct:
        answer = mean_image(threat.need("aux", self.name).images)

        def reconstruct(seen: Observation) -> Estimate:
            return Estimate(answer.expand(len(seen.ids), *answer.shape).clone())

        return reconstruct
