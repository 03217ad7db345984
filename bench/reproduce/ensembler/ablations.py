"""What Ensembler's paper leaves out: no similarity term, fresh noise, no noise, other N and P."""

from __future__ import annotations

from bench.point.setup import Place, Scale
from bench.reproduce.ensembler.attacks import ALL, ORACLE, Draft, Kind
from bench.reproduce.ensembler.claims import LEAKAGE, accuracy_claim, oracle_claims
from bench.reproduce.ensembler.tables import (
    NOISE,
    NOTES,
    PAPER,
    QUICK,
    QUICK_NOTE,
    SOURCE,
    ensembler,
)
from bench.reproduce.frame.experiment import Claim, Experiment, MetricName
from bench.reproduce.frame.run import Framed

STRONG: tuple[Kind, ...] = ("strengthened",)
SWEEP = {"quick": ((1, 2, 4), (1, 2)), "paper": ((1, 2, 4, 6, 10), (1, 2, 4))}
"""Scale -> N, and P beside N itself."""


def _removed(total: int, chosen: int) -> dict[str, tuple[str, str]]:
    """What is taken away -> (name of the place, defence)."""
    base = f"ensembler:N={total},P={chosen}"
    return {
        "Ensembler": ("ensembler", f"{base}+{NOISE}"),
        "lambda = 0": ("no-similarity", f"{base},weight=0+{NOISE}"),
        "fresh noise": ("fresh-noise", f"{base}+gaussian:level=0.1,draw=fresh"),
        "no noise": ("no-noise", base),
    }


def _unneeded(part: str, place: str, metric: MetricName) -> Claim:
    """Whether a part of the method hides anything."""
    return Claim(
        f"Without its {part} Ensembler leaks more: {metric.upper()} of Adaptive is higher",
        metric,
        f"{place}/all/strengthened",
        "above",
        "ensembler/all/strengthened",
        otherwise=f"the {part} hides nothing from this attack",
    )


@Framed
def ablations(scale: Scale) -> Experiment:
    """SPEC rows E-26 to E-29, under the strengthened attack; the paper has no numbers for them."""
    total, chosen = (4, 2) if scale == "quick" else (10, 4)
    draft = Draft(scale)
    draft.bounded(Place("none"), "NONE")
    for label, (name, defense) in _removed(total, chosen).items():
        place = Place(name, defense)
        draft.attacked(place, f"{label}: Adaptive", ALL, kinds=STRONG)
        draft.best_single(place, f"{label}: N = 1", total, kinds=STRONG)
        draft.attacked(place, f"{label}: oracle selector", ORACLE, kinds=STRONG)
        draft.bounded(place, label)
    many, few = SWEEP[scale]
    for n in many:
        for p in sorted({*(one for one in few if one <= n), n}):
            if (n, p) != (total, chosen):
                place = Place(f"n{n}-p{p}", ensembler(n, p))
                draft.attacked(place, f"N = {n}, P = {p}: Adaptive", ALL, kinds=STRONG)
                if p < n:
                    draft.attacked(place, f"N = {n}, P = {p}: oracle", ORACLE, kinds=STRONG)
                draft.bounded(place, f"N = {n}, P = {p}")
    return Experiment(
        name="ensembler-ablations",
        title="Ensembler: what each part of it does",
        source=f"{SOURCE}; ablations that it leaves out",
        scale=scale,
        setup=QUICK if scale == "quick" else PAPER,
        measurements=tuple(draft.measurements),
        rows=tuple(draft.rows),
        claims=(
            accuracy_claim("ensembler"),
            *(_unneeded("similarity term", "no-similarity", metric) for metric in LEAKAGE),
            *(_unneeded("noise", "no-noise", metric) for metric in LEAKAGE),
            *oracle_claims("ensembler", scale, STRONG),
        ),
        notes=(*NOTES[1:], *((QUICK_NOTE,) if scale == "quick" else ())),
    )
