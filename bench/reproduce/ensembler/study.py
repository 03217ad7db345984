"""What the experiments on Ensembler (Liu and Xiong 2024) share: how places become lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.point.setup import Place, Setup
from bench.reproduce.ensembler.attacks import (
    ATTACK_OF,
    DECODER_OPTIONS,
    ORACLE,
    PIPELINE_KNOWS,
    PIPELINE_OPTIONS,
    PIPELINES,
    SHORT,
    Pipeline,
)
from bench.reproduce.ensembler.claims import LEAKAGE
from bench.reproduce.ensembler.setup import NOTES, PAPER, QUICK, QUICK_NOTE, SOURCE
from bench.reproduce.frame.experiment import Line, Measurement
from bench.reproduce.frame.study import Study, declared

Papers = Mapping[str, Mapping[str, float]]
"""Metric or row -> the paper's numbers."""


@dataclass(frozen=True)
class EnsemblerStudy(Study):
    """How places are attacked at one scale."""

    PAPER = "Ensembler"
    SOURCE = SOURCE

    @property
    def setup(self) -> Setup:
        """The scale's own."""
        return QUICK if self.scale == "quick" else PAPER

    def shadow(
        self,
        place: Place,
        bodies: str,
        kind: Pipeline,
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
        knows = PIPELINE_KNOWS[kind]
        if place.defense == "none":
            knows -= {"defense"}
        if bodies == ORACLE:
            knows |= {"selector"}
        return Measurement(
            key=f"{place.name}/{name or bodies}/{kind}",
            place=place,
            attack=ATTACK_OF[kind],
            options={**PIPELINE_OPTIONS[self.scale][kind], **(options or {}), "bodies": bodies},
            knows=knows,
            share=share,
        )

    def attacked(
        self,
        place: Place,
        label: str,
        bodies: str,
        *,
        paper: Mapping[str, float] | None = None,
        kinds: Sequence[Pipeline] = PIPELINES,
        cell: tuple[str, str] | None = None,
    ) -> Iterator[Line]:
        """A line for each kind of the attack; the paper's numbers beside its own pipeline."""
        for kind in kinds:
            printed = (paper if kind == "literal" else None) or {}
            one = self.shadow(place, bodies, kind)
            yield Line(label, SHORT[self.scale][kind], (one,), paper=printed, cell=cell)

    def best_single(
        self,
        place: Place,
        label: str,
        total: int,
        *,
        papers: Papers | None = None,
        kinds: Sequence[Pipeline] = PIPELINES,
    ) -> Iterator[Line]:
        """The best of `total` attacks through one body each, by SSIM and by PSNR.

        Chosen with the true images, as the paper does: an adversary could not choose like this.
        """
        for metric in LEAKAGE:
            for kind in kinds:
                yield Line(
                    f"{label} (best {metric.upper()})",
                    SHORT[self.scale][kind],
                    tuple(self.shadow(place, str(i), kind) for i in range(total)),
                    best=metric,
                    paper=(papers or {}).get(metric, {}) if kind == "literal" else {},
                    key=f"{place.name}/best {metric}/{kind}",
                )

    def bounded(self, place: Place, label: str) -> Line:
        """The decoder with chosen-input queries, which break the threat model: the upper bound."""
        return self._decoded(place, label, "ceiling: queries", "ceiling", {"observe"})

    def searched(self, place: Place, label: str) -> Line:
        """The lab's `rmle` from a decoder's image: head, queries and defence are granted."""
        knows = {"head", "observe", *(() if place.defense == "none" else ("defense",))}
        one = Measurement(f"{place.name}/ceiling-rmle", place, "rmle", {}, frozenset(knows))
        return Line(label, "ceiling: head and queries", (one,))

    def through_noise(self, place: Place, label: str) -> Line:
        """A decoder trained on the true head under fresh draws of the noise: white box."""
        text = f"{label}, decoder through fresh noise"
        return self._decoded(place, text, "head granted", "through noise", {"head", "defense"})

    def _decoded(self, place: Place, label: str, how: str, key: str, knows: set[str]) -> Line:
        options = DECODER_OPTIONS[self.scale]
        name = f"{place.name}/{key}"
        return Line(label, how, (Measurement(name, place, "decoder", options, frozenset(knows)),))

    def told(self, notes: Sequence[str] = NOTES, quick: str = QUICK_NOTE) -> tuple[str, ...]:
        """Notes, and what is said of the quick scale there."""
        return (*notes, quick) if self.scale == "quick" else tuple(notes)


ours = declared(EnsemblerStudy)
