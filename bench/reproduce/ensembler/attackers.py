"""Stronger attackers than Ensembler's paper considers, on one Ensembler (SPEC rows E-r20 to r25).

Each changes one thing of the shadow attack through all bodies, so that its worth can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adversary.inversion.shadow.presets import PRESETS
from bench.point.setup import Place, Scale
from bench.reproduce.ensembler.attacks import ALL, ORACLE, SEARCH, Draft
from bench.reproduce.ensembler.claims import LEAKAGE
from bench.reproduce.ensembler.tables import (
    NOTES,
    PAPER,
    QUICK,
    QUICK_NOTE,
    SOURCE,
    ensembler,
)
from bench.reproduce.frame.experiment import Claim, Experiment, Measurement
from bench.reproduce.frame.run import Framed

SETTINGS: Mapping[Scale, Mapping[str, Any]] = {
    "quick": {"channels": 16, "epochs": 2, "decoder_epochs": 1},
    "paper": {"epochs": 30},
}
BODIES, WATCHING = frozenset({"bodies"}), frozenset({"bodies", "capture"})
VARIANTS: tuple[tuple[str, Mapping[str, Any], frozenset[str]], ...] = (
    ("all bodies", {"bodies": ALL}, BODIES),
    ("a tensor a body", {"bodies": ALL, "tensors": True}, BODIES),
    ("hard choice of P", {"bodies": "top-P"}, BODIES | {"P"}),
    ("every subset, by loss", {"bodies": SEARCH}, BODIES),
    (
        "every subset, by captured moments",
        {"bodies": SEARCH, "match": "moments", "weight": 0.0},
        WATCHING,
    ),
    ("statistics of the bodies", {"bodies": ALL, "match": "statistics"}, BODIES),
    ("captured moments", {"bodies": ALL, "match": "moments"}, WATCHING),
    (
        "captured moments, the head's own architecture",
        {"bodies": ALL, "match": "moments", "head": "architecture"},
        WATCHING | {"defense"},
    ),
    ("best of three shadows", {"bodies": ALL, "match": "moments", "shadows": 3}, WATCHING),
    ("selector granted", {"bodies": ORACLE}, BODIES | {"selector"}),
)
WHOLE = ("all bodies, the paper's pipeline in full", {**PRESETS["liu2024"].fields}, BODIES)
"""At the quick scale, where the other rows are shortened: is that why they find so little?"""


@Framed
def attackers(scale: Scale) -> Experiment:
    """Every variant on one Ensembler, beside the aligned shadow, the floor and the ceiling."""
    # "every subset" trains 2^N - 1 shadows, so N stays small at both scales.
    many = Place("ensembler", ensembler(4, 2))
    draft = Draft(scale)
    draft.bounded(Place("none"), "NONE")
    variants = (*VARIANTS, WHOLE) if scale == "quick" else VARIANTS
    for label, options, knows in variants:
        key = f"{many.name}/{label}"
        made = Measurement(key, many, "shadow", {**SETTINGS[scale], **options}, knows)
        draft.add(label, "shadow", [made])
    draft.attacked(many, "aligned shadow", ALL, kinds=("strengthened",))
    draft.bounded(many, "Ensembler")
    claims = tuple(
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
    )
    return Experiment(
        name="ensembler-attackers",
        title="Ensembler under stronger attackers",
        source=f"{SOURCE}; attackers that it leaves out",
        scale=scale,
        setup=QUICK if scale == "quick" else PAPER,
        measurements=tuple(draft.measurements),
        rows=tuple(draft.rows),
        claims=claims,
        notes=(*NOTES[1:], *((QUICK_NOTE,) if scale == "quick" else ())),
    )
