"""What Tables 2 and 3 of Ensembler (Liu and Xiong 2024) have in common: fewer baselines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bench.point.setup import Place, Scale
from bench.reproduce.ensembler.attacks import ALL_BODIES
from bench.reproduce.ensembler.claims import accuracy_claim, protection_claims
from bench.reproduce.ensembler.setup import NOISE, ensembler
from bench.reproduce.ensembler.study import EnsemblerStudy, Papers
from bench.reproduce.frame.experiment import Experiment, Line

BODIES = {"quick": 4, "paper": 10}


def smaller(
    study: EnsemblerStudy,
    number: int,
    *,
    chosen: Mapping[Scale, int],
    papers: Papers,
    changed: Mapping[str, Any],
) -> Experiment:
    """Single, Random where the paper has it, and Ensembler.

    Args:
        number: of the table.
        chosen: P.
        papers: row -> the paper's numbers.
        changed: of the setup, at the paper's scale.
    """
    update = changed if study.scale == "paper" else {}
    return study.experiment(
        f"table{number}",
        f", Table {number}",
        _lines(study, chosen[study.scale], papers),
        notes=study.told(),
        setup=study.setup.model_copy(update=update),
        claims=(
            accuracy_claim("ensembler"),
            *protection_claims("ensembler", "single", study.scale),
        ),
    )


def _lines(study: EnsemblerStudy, chosen: int, papers: Papers) -> Iterator[Line]:
    total = BODIES[study.scale]
    yield study.bounded(Place("none"), "NONE")
    for label, place in (
        ("Single", Place("single", "single:level=0.1")),
        ("Random", Place("random", f"random-head+{NOISE}")),
    ):
        if label in papers:
            yield from study.attacked(place, label, "0", paper=papers[label])
            yield study.bounded(place, label)
    many = Place("ensembler", ensembler(total, chosen))
    yield from study.attacked(many, "Adaptive", ALL_BODIES, paper=papers["Adaptive"])
    one = papers["N = 1"]
    yield from study.best_single(many, "N = 1", total, papers={"ssim": one, "psnr": one})
    yield study.bounded(many, "Ensembler")
