"""Table 3 of Ensembler (Liu and Xiong 2024): faces at 128 pixels, P = 5.

The paper's subset of CelebA-HQ is not stated.
"""

from __future__ import annotations

from bench.reproduce.ensembler.setup import numbers
from bench.reproduce.ensembler.smaller import smaller
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Experiment


@ours
def table3(study: EnsemblerStudy) -> Experiment:
    """Single, a random head, and Ensembler."""
    return smaller(
        study,
        3,
        chosen={"quick": 3, "paper": 5},
        papers={
            "Single": numbers(-1.24, 0.2650, 14.3126),
            "Random": numbers(-65.19, 0.1387, 12.8150),
            "Adaptive": numbers(2.39, 0.0897, 13.3698),
            "N = 1": numbers(2.39, 0.1791, 12.0645),
        },
        changed={"dataset": "", "arguments": {"stem": "celeba"}, "size": 128, "victims": 500},
    )
