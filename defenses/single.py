"""Fixed Gaussian noise that the network learns with (Liu and Xiong 2024, "Ensembler", row "Single":
one of its stage-one networks, deployed alone).
"""

from __future__ import annotations

from typing import ClassVar

from defenses.gaussian import Gaussian
from defenses.parts.noise import DrawMode


class Single(Gaussian):
    """z' = z + n with n ~ N(0, level^2), drawn once from the secret; the network learns with it.

    What sets it apart from `gaussian:draw=fixed` is the training: head, body and tail learn beside
    the very noise that the deployment adds.

    Args:
        level: standard deviation, in the units of the feature.
        draw: "fixed" is the paper's; "fresh" trains and serves with noise of every row's own.
    """

    name: ClassVar[str] = "single"
    source: ClassVar[str] = "Liu and Xiong 2024, Ensembler, section 5.2 (Single, 0.1)"
    retrains: ClassVar[bool] = True

    draw: DrawMode = "fixed"
