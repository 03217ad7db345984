"""Laplace noise on features (He et al. 2019; Titcombe et al. 2021). No privacy budget is claimed:
without a stated sensitivity and clipping, Laplace noise is not differential privacy.
"""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from defenses.parts.noise import NoiseDefense, standard_laplace
from splitlab.contracts.ranges import Level
from splitlab.randomness import Draw


class Laplace(NoiseDefense):
    """z' = z + n, n from a Laplace distribution of mean 0 and standard deviation `level`.

    The scale that papers give is b = level / sqrt(2).

    Args:
        level: standard deviation, in the units of the feature.
        draw: "fresh" for every row of every request, "fixed" once for the deployment.
    """

    name: ClassVar[str] = "laplace"
    source: ClassVar[str] = "He et al. 2019; Titcombe et al. 2021 (scale b = level / sqrt 2)"

    level: Level = 0.1

    def sample(self, like: Tensor, draw: Draw, purpose: str) -> Tensor:
        return self.level / math.sqrt(2) * standard_laplace(draw.uniform(like, purpose))
