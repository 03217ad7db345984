"""Stronger attackers than Ensembler's paper considers, on one Ensembler (SPEC rows E-r20 to r25).

Each changes one thing of the shadow attack through all bodies, so that its worth can be told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from adversary.inversion.shadow.presets import PRESETS
from bench.point.setup import Place, Scale
from bench.reproduce.ensembler.attacks import ALL_BODIES, ORACLE, SEARCH
from bench.reproduce.ensembler.claims import LEAKAGE
from bench.reproduce.ensembler.setup import NOTES, SOURCE, ensembler
from bench.reproduce.ensembler.study import EnsemblerStudy, ours
from bench.reproduce.frame.experiment import Claim, Experiment, Line, Measurement

Variant = tuple[str, Mapping[str, Any], frozenset[str]]
"""Label, options, what it knows."""

SETTINGS: Mapping[Scale, Mapping[str, Any]] = {
    "quick": {"channels": 16, "epochs": 2, "decoder_epochs": 1},
    "paper": {"epochs": 30},
}
BODIES, WATCHING = frozenset({"bodies"}), frozenset({"bodies", "capture"})
VARIANTS: tuple[Variant, ...] = (
    ("all bodies", {"bodies": ALL_BODIES}, BODIES),
    ("a tensor a body", {"bodies": ALL_BODIES, "tensors": True}, BODIES),
    ("hard choice of P", {"bodies": "top-P"}, BODIES | {"P"}),
    ("every subset, by loss", {"bodies": SEARCH}, BODIES),
    (
        "every subset, by captured moments",
        {"bodies": SEARCH, "match": "moments", "weight": 0.0},
        WATCHING,
    ),
    ("statistics of the bodies", {"bodies": ALL_BODIES, "match": "statistics"}, BODIES),
    ("captured moments", {"bodies": ALL_BODIES, "match": "moments"}, WATCHING),
    (
        "captured moments, the head's own architecture",
        {"bodies": ALL_BODIES, "match": "moments", "head": "architecture"},
        WATCHING | {"defense"},
    ),
    ("best of three shadows", {"bodies": ALL_BODIES, "match": "moments", "shadows": 3}, WATCHING),
    ("selector granted", {"bodies": ORACLE}, BODIES | {"selector"}),
)
FORA_OPTIONS: Mapping[Scale, Mapping[str, Any]] = {
    "quick": {"decoder_epochs": 1},
    "paper": {"preset": "xu2024"},
}
WHOLE = ("all bodies, the paper's pipeline in full", {**PRESETS["liu2024"].fields}, BODIES)
"""At the quick scale, where the other rows are shortened: is that why they find so little?"""


@ours
def attackers(study: EnsemblerStudy) -> Experiment:
    """Every variant on one Ensembler, beside FORA, the aligned shadow, the floor, the ceiling."""
    # "every subset" trains 2^N - 1 shadows, so N stays small at both scales.
    many = Place("ensembler", ensembler(4, 2))
    variants = (*VARIANTS, WHOLE) if study.scale == "quick" else VARIANTS
    return study.experiment(
        "attackers",
        " under stronger attackers",
        _lines(study, many, variants),
        source=f"{SOURCE}; attackers that it leaves out",
        claims=tuple(
            Claim(
                f"{metric.upper()} of the shadow with {label} is above that with all bodies alone",
                metric,
                f"{many.name}/{label}",
                "above",
                f"{many.name}/all bodies",
                otherwise="this does not help a shadow that learns by its task",
            )
            for label, _, _ in variants[1:]
            for metric in LEAKAGE
        ),
        notes=study.told(NOTES[1:]),
    )


def _lines(study: EnsemblerStudy, many: Place, variants: Sequence[Variant]) -> Iterator[Line]:
    yield study.bounded(Place("none"), "NONE")
    for label, options, knows in variants:
        key, given = f"{many.name}/{label}", {**SETTINGS[study.scale], **options}
        yield Line(label, "shadow", (Measurement(key, many, "shadow", given, knows),))
    imitated = Measurement(
        f"{many.name}/fora",
        many,
        "fora",
        FORA_OPTIONS[study.scale],
        frozenset({"capture", "defense"}),
    )
    yield Line("a substitute for the client, no bodies", "fora", (imitated,))
    yield from study.attacked(many, "aligned shadow", ALL_BODIES, kinds=("strengthened",))
    yield study.bounded(many, "Ensembler")
