"""Table 2 of Ensembler (Liu and Xiong 2024): CIFAR-100, no max pooling, P = 3."""

from __future__ import annotations

from bench.reproduce.ensembler.setup import numbers
from bench.reproduce.ensembler.smaller import smaller
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Experiment


@ours
def table2(study: EnsemblerStudy) -> Experiment:
    """Single and Ensembler."""
    return smaller(
        study,
        2,
        chosen={"quick": 2, "paper": 3},
        papers={
            "Single": numbers(-0.97, 0.4558, 8.5225),
            "Adaptive": numbers(0.31, 0.0864, 4.7715),
            "N = 1": numbers(0.31, 0.2636, 5.0741),
        },
        changed={"dataset": "cifar100", "arguments": {"stem": "cifar100"}, "head_end": "relu"},
    )
