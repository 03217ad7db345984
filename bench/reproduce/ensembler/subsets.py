"""What it costs to try every subset of Ensembler's bodies (Liu and Xiong 2024, section 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.point.setup import Place
from bench.reproduce.ensembler.attacks import ALL_BODIES, ORACLE, SEARCH, Pipeline
from bench.reproduce.ensembler.claims import LEAKAGE
from bench.reproduce.ensembler.setup import SOURCE, ensembler
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Claim, Experiment, ExtraTable, Found, Line

MEASURED = (2, 3, 4)
BEYOND = (5, 6, 8, 10, 20)
KIND: Pipeline = "literal"


def subsets_of(bodies: int) -> int:
    """Non-empty subsets, 2^N - 1."""
    return 2**bodies - 1


def runs_of(bodies: int) -> int:
    """Bodies that are run over all subsets for one image, N * 2^(N - 1)."""
    return bodies * 2 ** (bodies - 1)


def extrapolated(seconds: Mapping[int, float], beyond: Sequence[int]) -> dict[int, float]:
    """Seconds for other N, from a fixed cost a subset and a cost a body that is run.

    Least squares without negative costs over what was measured: N -> seconds.
    """
    known = sorted(seconds)
    costs = np.array([[subsets_of(n), runs_of(n)] for n in known], dtype=float)
    times = np.array([seconds[n] for n in known])
    best = np.linalg.lstsq(costs, times, rcond=None)[0]
    if best.min() < 0:
        alone = [float(costs[:, i] @ times / (costs[:, i] @ costs[:, i])) for i in (0, 1)]
        errors = [float(np.square(costs[:, i] * alone[i] - times).sum()) for i in (0, 1)]
        kept = int(np.argmin(errors))
        best = np.array([alone[0], 0.0] if kept == 0 else [0.0, alone[1]])
    return {n: float(best[0] * subsets_of(n) + best[1] * runs_of(n)) for n in beyond}


def cost_of_subsets(experiment: Experiment, found: Found) -> list[ExtraTable]:
    """Measured seconds for small N beside the formula, and what they mean for larger N."""
    measured: dict[int, float] = {}
    for n in MEASURED:
        seen = experiment.here(found, experiment.line(f"n{n}/{SEARCH}/{KIND}"))
        times = [one.record.attack_facts["shadow_seconds"] for one in seen]
        if times:
            measured[n] = sum(times) / len(times)
    if len(measured) < 2:
        return []
    rows = [_row(n, seconds, "measured") for n, seconds in measured.items()]
    rows += [
        _row(n, seconds, "extrapolated, not measured")
        for n, seconds in extrapolated(measured, BEYOND).items()
    ]
    note = (
        "Seconds of training the shadows, one a subset, mean over seeds; the decoder that follows "
        "is learned once. At the quick scale a shadow learns for a few epochs only. The paper's "
        "formula counts subsets; a subset of more bodies costs more, which the extrapolation "
        "allows for. An adversary that knows P has only the subsets of P to try."
    )
    columns = ("N", "subsets, 2^N - 1", "bodies run an image", "time", "how known")
    return [ExtraTable("Trying every subset", columns, tuple(rows), note)]


def _row(bodies: int, seconds: float, how: str) -> tuple[str, ...]:
    return (str(bodies), f"{subsets_of(bodies):,}", f"{runs_of(bodies):,}", duration(seconds), how)


def duration(seconds: float) -> str:
    """In the unit that a reader would choose."""
    for unit, size in (("years", 31_557_600.0), ("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:z,.1f} {unit}"
    return f"{seconds:z.1f} s"


def _place(bodies: int) -> Place:
    return Place(f"n{bodies}", ensembler(bodies, min(2, bodies)))


def _lines(study: EnsemblerStudy) -> Iterator[Line]:
    yield study.bounded(Place("none"), "NONE")
    for n in MEASURED:
        place, label = _place(n), f"N = {n}"
        yield from study.attacked(place, f"{label}: Adaptive", ALL_BODIES, kinds=(KIND,))
        yield from study.attacked(place, f"{label}: every subset", SEARCH, kinds=(KIND,))
        yield from study.attacked(place, f"{label}: oracle selector", ORACLE, kinds=(KIND,))
        yield study.bounded(place, label)


@ours
def subsets(study: EnsemblerStudy) -> Experiment:
    """Adaptive, oracle, and the search over all subsets for N = 2, 3, 4; P = 2."""
    last = MEASURED[-1]
    return study.experiment(
        "subsets",
        ": the price of trying every subset",
        _lines(study),
        source=f"{SOURCE}, section 4.4",
        claims=tuple(
            Claim(
                f"Trying every subset of N = {last} finds more than Adaptive: {metric.upper()} is "
                "higher",
                metric,
                f"n{last}/{SEARCH}/{KIND}",
                "above",
                f"n{last}/{ALL_BODIES}/{KIND}",
                otherwise="the search that the paper's argument rests on is not worth its price",
            )
            for metric in LEAKAGE
        ),
        notes=("The search chooses among subsets without the true images.",),
        tables=(cost_of_subsets,),
        timed=True,
    )
