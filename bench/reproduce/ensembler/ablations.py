"""What Ensembler's paper leaves out: no similarity term, fresh noise, no noise, other N and P."""

from __future__ import annotations

from collections.abc import Iterator

from bench.point.setup import Place
from bench.reproduce.ensembler.attacks import ALL_BODIES, ORACLE, Pipeline
from bench.reproduce.ensembler.claims import LEAKAGE, accuracy_claim, oracle_claims
from bench.reproduce.ensembler.setup import NOISE, NOTES, SOURCE, ensembler
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.ensembler.table1 import BODIES
from bench.reproduce.frame.experiment import Claim, Experiment, Line

STRONG: tuple[Pipeline, ...] = ("strengthened",)
SWEEP = {"quick": ((1, 2, 4), (1, 2)), "paper": ((1, 2, 4, 6, 10), (1, 2, 4))}
"""Scale -> N, and P beside N itself."""


@ours
def ablations(study: EnsemblerStudy) -> Experiment:
    """SPEC rows E-26 to E-29, under the strengthened attack; the paper has no numbers for them."""
    return study.experiment(
        "ablations",
        ": what each part of it does",
        _lines(study),
        source=f"{SOURCE}; ablations that it leaves out",
        claims=(
            accuracy_claim("ensembler"),
            *(_unneeded("similarity term", "no-similarity", metric) for metric in LEAKAGE),
            *(_unneeded("noise", "no-noise", metric) for metric in LEAKAGE),
            *oracle_claims("ensembler", study.scale, STRONG),
        ),
        notes=study.told(NOTES[1:]),
    )


def _lines(study: EnsemblerStudy) -> Iterator[Line]:
    total, chosen = BODIES[study.scale]
    base = f"ensembler:N={total},P={chosen}"
    yield study.bounded(Place("none"), "NONE")
    for label, place in (
        ("Ensembler", Place("ensembler", f"{base}+{NOISE}")),
        ("lambda = 0", Place("no-similarity", f"{base},weight=0+{NOISE}")),
        ("fresh noise", Place("fresh-noise", f"{base}+gaussian:level=0.1,draw=fresh")),
        ("no noise", Place("no-noise", base)),
    ):
        yield from study.attacked(place, f"{label}: Adaptive", ALL_BODIES, kinds=STRONG)
        yield from study.best_single(place, f"{label}: N = 1", total, kinds=STRONG)
        yield from study.attacked(place, f"{label}: oracle selector", ORACLE, kinds=STRONG)
        yield study.bounded(place, label)
    many, few = SWEEP[study.scale]
    for n in many:
        for p in sorted({*(one for one in few if one <= n), n}):
            if (n, p) != (total, chosen):
                place, label = Place(f"n{n}-p{p}", ensembler(n, p)), f"N = {n}, P = {p}"
                yield from study.attacked(place, f"{label}: Adaptive", ALL_BODIES, kinds=STRONG)
                if p < n:
                    yield from study.attacked(place, f"{label}: oracle", ORACLE, kinds=STRONG)
                yield study.bounded(place, label)


def _unneeded(part: str, place: str, metric: str) -> Claim:
    """Whether a part of the method hides anything."""
    return Claim(
        f"Without its {part} Ensembler leaks more: {metric.upper()} of Adaptive is higher",
        metric,
        f"{place}/all/strengthened",
        "above",
        "ensembler/all/strengthened",
        otherwise=f"the {part} hides nothing from this attack",
    )
