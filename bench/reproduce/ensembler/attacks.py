"""How Ensembler and its baselines are attacked (Liu and Xiong 2024): the one place for settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.point.setup import Place, Scale
from bench.reproduce.frame.experiment import ExperimentRow, Measurement

Kind = Literal["literal", "strengthened"]

ATTACKS: Mapping[Kind, str] = {"literal": "shadow", "strengthened": "aligned-shadow"}
"""The paper's pipeline as it is written; and the lab's, which also uses the captured features that
every server holds."""
SHORT: Mapping[Scale, Mapping[Kind, str]] = {
    "paper": {"literal": "literal", "strengthened": "strengthened"},
    "quick": {"literal": "literal, shortened", "strengthened": "strengthened"},
}
"""What a row calls them: at the quick scale the paper's pipeline learns for fewer epochs."""
OPTIONS: Mapping[Scale, Mapping[Kind, Mapping[str, Any]]] = {
    "paper": {"literal": {"preset": "liu2024"}, "strengthened": {"decoder_epochs": 10}},
    "quick": {
        # As many channels as the head has: 64 in the paper's networks, 16 in ResNet-8.
        "literal": {
            "preset": "liu2024",
            "channels": 16,
            "epochs": 1,
            "decoder": "lab",
            "decoder_epochs": 1,
        },
        "strengthened": {"decoder_epochs": 1, "aligned": 2, "searches": 2},
    },
}
DECODER: Mapping[Scale, Mapping[str, Any]] = {"paper": {"epochs": 10}, "quick": {"epochs": 1}}
"""Of the decoders on the true head: as many epochs as the strengthened attack's."""
KNOWS: Mapping[Kind, frozenset[str]] = {
    "literal": frozenset({"bodies"}),
    "strengthened": frozenset({"bodies", "capture", "defense"}),
}
KINDS: tuple[Kind, ...] = ("literal", "strengthened")

ALL = "all"
"""Every body: the shadow learns a selector over them, the aligned shadow gives each a say."""
ORACLE = "oracle"
"""The client's own selector, granted."""
SEARCH = "search"
"""Every subset of the bodies, one after another."""


def shadow(
    place: Place,
    bodies: str,
    kind: Kind,
    scale: Scale = "quick",
    *,
    share: float = 1.0,
    name: str = "",
    options: Mapping[str, Any] | None = None,
) -> Measurement:
    """One query-free attack through `bodies`: "all", "oracle", "search" or a body's number.

    Args:
        share: of the auxiliary images.
        name: in the key, in place of `bodies`.
        options: beside those of the scale.
    """
    knows = KNOWS[kind]
    if place.defense == "none":
        knows -= {"defense"}
    if bodies == ORACLE:
        knows |= {"selector"}
    return Measurement(
        key=f"{place.name}/{name or bodies}/{kind}",
        place=place,
        attack=ATTACKS[kind],
        options={**OPTIONS[scale][kind], **(options or {}), "bodies": bodies},
        knows=knows,
        share=share,
    )


def ceiling(place: Place, scale: Scale = "quick") -> Measurement:
    """The decoder with chosen-input queries, which break the threat model: the upper bound."""
    knows = frozenset({"observe"})
    return Measurement(f"{place.name}/ceiling", place, "decoder", DECODER[scale], knows)


def through_noise(place: Place, scale: Scale = "quick") -> Measurement:
    """A decoder trained on the true head under fresh draws of the defence's noise: white box."""
    knows = frozenset({"head", "defense"})
    return Measurement(f"{place.name}/through noise", place, "decoder", DECODER[scale], knows)


@dataclass
class Draft:
    """Measurements and rows of an experiment while it is put together."""

    scale: Scale = "quick"
    measurements: list[Measurement] = field(default_factory=list)
    rows: list[ExperimentRow] = field(default_factory=list)

    def add(
        self,
        label: str,
        attack: str,
        made: Sequence[Measurement],
        *,
        best: Literal["ssim", "psnr"] = "ssim",
        paper: Mapping[str, float] | None = None,
        cell: tuple[str, str] | None = None,
        key: str = "",
    ) -> str:
        """One row over measurements, which are made once however many rows they are in."""
        known = {m.key for m in self.measurements}
        self.measurements += [m for m in made if m.key not in known]
        key = key or made[0].key
        self.rows.append(
            ExperimentRow(key, label, attack, tuple(m.key for m in made), best, paper or {}, cell)
        )
        return key

    def attacked(
        self,
        place: Place,
        label: str,
        bodies: str,
        *,
        paper: Mapping[str, float] | None = None,
        kinds: Sequence[Kind] = KINDS,
        cell: tuple[str, str] | None = None,
    ) -> None:
        """A row for each kind of the attack; the paper's numbers beside its own pipeline."""
        for kind in kinds:
            own = paper if kind == "literal" else None
            self.add(
                label,
                SHORT[self.scale][kind],
                [shadow(place, bodies, kind, self.scale)],
                paper=own,
                cell=cell,
            )

    def best_single(
        self,
        place: Place,
        label: str,
        total: int,
        *,
        papers: Mapping[str, Mapping[str, float]] | None = None,
        kinds: Sequence[Kind] = KINDS,
    ) -> None:
        """The best of `total` attacks through one body each, by SSIM and by PSNR.

        Chosen with the true images, as the paper does: an adversary could not choose like this.
        """
        by: tuple[Literal["ssim", "psnr"], ...] = ("ssim", "psnr")
        for metric in by:
            for kind in kinds:
                own = (papers or {}).get(metric) if kind == "literal" else None
                self.add(
                    f"{label} (best {metric.upper()})",
                    SHORT[self.scale][kind],
                    [shadow(place, str(i), kind, self.scale) for i in range(total)],
                    best=metric,
                    paper=own,
                    key=f"{place.name}/best {metric}/{kind}",
                )

    def bounded(self, place: Place, label: str) -> None:
        """The ceiling on this deployment."""
        self.add(label, "ceiling: queries", [ceiling(place, self.scale)])
