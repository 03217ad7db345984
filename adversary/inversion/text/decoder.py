"""The ceiling of attacks on text: a decoder of words that learns on answers to chosen sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.text.words import WordDecoding, fit_decoder, read_words
from splitlab.contracts import Estimate, Features, Kind
from splitlab.contracts.kinds import TOKENS
from splitlab.models.seq2seq import Seq2SeqSpec


class WordDecoder(Attack, WordDecoding):
    """Has the client send sentences of its choice, and learns to read what comes of them."""

    name: ClassVar[str] = "word-decoder"
    source: ClassVar[str] = "the lab's own ceiling; queries are outside Ensembler's threat model"
    estimates: ClassVar[Kind] = TOKENS
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"observe"}),
        "adaptive": frozenset({"observe"}),
    }

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        arch, asked = (threat.need(field, self.name) for field in ("arch", "observe"))
        spec = Seq2SeqSpec(**arch.arguments)
        length = spec.source_length
        decoder = fit_decoder(
            asked.features[:, :length],
            asked.images.source,
            spec.source_words,
            self,
            seed=rng.initial_seed(),
            device=work.device,
            progress=work.progress,
        )

        def estimate(seen: Features) -> Estimate:
            return Estimate(read_words(decoder, seen.features[:, :length]))

        return estimate
