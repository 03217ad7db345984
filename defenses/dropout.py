"""Dropout of feature elements on the client (He et al. 2019, "Attacking and Protecting Data Privacy
in Edge-Cloud Collaborative Inference Systems"; Ensembler's row "DR-single").
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from defenses.parts.noise import NoiseDefense
from splitlab.contracts.ranges import Probability
from splitlab.randomness import Draw


class Dropout(NoiseDefense):
    """z' = z with each element set to 0 with probability `level`; what is left is not rescaled.

    Args:
        level: probability of an element to be lost. The default is Ensembler's 1 - P/N.
        draw: "fresh" mask for every row of every request, "fixed" once for the deployment.
    """

    name: ClassVar[str] = "dropout"
    source: ClassVar[str] = "He et al. 2020; Ensembler, DR-single (1 - 4/10)"

    level: Probability = 0.6

    def sample(self, like: Tensor, draw: Draw, purpose: str) -> Tensor:
        return (draw.uniform(like, purpose) >= self.level).to(like.dtype)

    def combine(self, feature: Tensor, noise: Tensor) -> Tensor:
        return feature * noise
