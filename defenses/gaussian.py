"""Gaussian noise on features (He et al. 2019, "Model Inversion Attacks Against Collaborative
Inference", section 6.2; fixed: Ensembler's row "Single", standard deviation 0.1).
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from defenses.parts.noise import NoiseDefense
from splitlab.contracts.ranges import Level
from splitlab.randomness import Draw


class Gaussian(NoiseDefense):
    """z' = z + n with n ~ N(0, level^2), independent for every element.

    Args:
        level: standard deviation, in the units of the feature.
        draw: "fresh" for every row of every request, "fixed" once for the deployment.
    """

    name: ClassVar[str] = "gaussian"
    source: ClassVar[str] = "He et al. 2019, ACSAC, section 6.2"

    level: Level = 0.1

    def sample(self, like: Tensor, draw: Draw, purpose: str) -> Tensor:
        return self.level * draw.normal(like, purpose)
