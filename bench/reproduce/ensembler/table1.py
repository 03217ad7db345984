"""Table 1 of Ensembler (Liu and Xiong 2024, section 5), with the rows that the paper leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from adversary.inversion.aligned.attack import AlignedShadow
from bench.point.setup import Place
from bench.reproduce.ensembler.attacks import ALL_BODIES, ORACLE, PIPELINE_OPTIONS
from bench.reproduce.ensembler.claims import accuracy_claim, oracle_claims, protection_claims
from bench.reproduce.ensembler.setup import ensembler, numbers
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Experiment, Line

BODIES = {"quick": (4, 2), "paper": (10, 4)}
"""Scale -> N and P."""
PUBLISHED = {
    "NONE": numbers(0.0, 0.4363, 12.2678),
    "Shredder": numbers(-5.68, 0.5359, 10.4033),
    "Single": numbers(2.15, 0.3921, 7.5266),
    "DR-single": numbers(2.70, 0.3453, 6.6674),
    "Adaptive": numbers(-2.13, 0.0555, 5.981),
}
DROPPED = {"ssim": numbers(1.42, 0.373, 7.3493), "psnr": numbers(1.42, 0.3232, 7.9598)}
ONE_BODY = {"ssim": numbers(-2.13, 0.2889, 4.865), "psnr": numbers(-2.13, 0.2221, 5.5348)}
"""Of the best single body, by each metric."""
TENTH = 0.1
"""Share of the auxiliary images that the poorer adversary of the last rows has."""


@ours
def table1(study: EnsemblerStudy) -> Experiment:
    """Ensembler and its baselines under every attack."""
    return study.experiment(
        "table1",
        ", Table 1",
        _lines(study),
        notes=study.told(),
        claims=(
            accuracy_claim("ensembler"),
            *protection_claims("ensembler", "single", study.scale),
            *oracle_claims("ensembler", study.scale),
        ),
    )


def _lines(study: EnsemblerStudy) -> Iterator[Line]:
    total, chosen = BODIES[study.scale]
    level = 1 - chosen / total
    single = Place("single", "single:level=0.1")
    for label, place in (
        ("NONE", Place("none")),
        ("Shredder", Place("shredder", "shredder")),
        ("Single", single),
        ("DR-single", Place("dr-single", f"output-dropout:level={level:g}")),
    ):
        yield from study.attacked(place, label, "0", paper=PUBLISHED[label])
        yield study.bounded(place, label)
        yield study.searched(place, label)
    dropped = Place("dr-ensemble", f"dropout-ensemble:N={total},level={level:g}")
    yield from study.best_single(dropped, "DR-ensemble", total, papers=DROPPED, kinds=("literal",))
    yield from study.attacked(dropped, "DR-ensemble", ALL_BODIES, kinds=("strengthened",))
    yield study.bounded(dropped, "DR-ensemble")
    yield study.searched(dropped, "DR-ensemble")
    many = Place("ensembler", ensembler(total, chosen))
    yield from study.attacked(many, "Adaptive", ALL_BODIES, paper=PUBLISHED["Adaptive"])
    yield from study.best_single(many, "N = 1", total, papers=ONE_BODY)
    yield from study.attacked(many, "Oracle selector", ORACLE)
    yield _poorer(study, many)
    yield study.through_noise(single, "Single")
    yield study.through_noise(many, "Ensembler")
    yield study.bounded(many, "Ensembler")
    yield study.searched(many, "Ensembler")


def _poorer(study: EnsemblerStudy, many: Place) -> Line:
    """As many steps as the others make, so that the row is about data and not about training."""
    critic = AlignedShadow().critic_epochs
    decoder = PIPELINE_OPTIONS[study.scale]["strengthened"]["decoder_epochs"]
    longer = {
        "critic_epochs": round(critic / TENTH),
        "decoder_epochs": round(decoder / TENTH),
    }
    name = "all, a tenth of the images"
    one = study.shadow(many, ALL_BODIES, "strengthened", share=TENTH, name=name, options=longer)
    label = "Adaptive with a tenth of the auxiliary images (all other rows have ten times as many)"
    return Line(label, "strengthened", (one,))
