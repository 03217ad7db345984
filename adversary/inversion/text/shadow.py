"""Query-free inversion of text (Liu and Xiong 2024, "Ensembler", appendix A.1), as written.

Shadow embeddings and a shadow projection learn to translate through the server's frozen body; a
decoder then learns to tell the word from the shadow's feature, and is applied to the client's.
Nothing ties the shadow's embeddings to the client's, which is why it fails.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from adversary.contract.attack import Attack
from adversary.contract.threat import AuxSentences, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.text.words import WordDecoding, features_of, fit_decoder, read_words
from splitlab.contracts import Estimate, Features, Kind
from splitlab.contracts.kinds import TOKENS
from splitlab.contracts.ranges import Epochs, LearningRate
from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import SPECIAL
from splitlab.metrics.words import words_read
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.training import Progress
from splitlab.training.translator import greedy, train_translator

SHOWN = 6
"""Sentences of its own that its account tells."""


class TextShadow(Attack, WordDecoding):
    """Learns on a shadow of the translator; reads the client's features as if they were its own.

    Args:
        epochs, learning_rate: of the shadow's embeddings and projection.
        batch_size: of both trainings.
        decoder_epochs, decoder_rate, hidden: see `WordDecoding`.
    """

    name: ClassVar[str] = "text-shadow"
    source: ClassVar[str] = "Liu and Xiong 2024, Ensembler, appendix A.1"
    estimates: ClassVar[Kind] = TOKENS
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"bodies"}),
        "unaware": frozenset({"bodies"}),
    }

    epochs: Epochs = 10
    learning_rate: LearningRate = 5e-3

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        arch, bodies, own = (threat.need(n, self.name) for n in ("arch", "bodies", "sentences"))
        spec = Seq2SeqSpec(**arch.arguments)
        # The seed of its own: with the victim's, its first weights would be the victim's.
        seed = rng.initial_seed() + 1
        net, losses = fit_shadow(
            spec,
            bodies[0],
            own.sentences,
            self,
            seed=seed,
            device=work.device,
            checkpoint=work.checkpoint,
            progress=work.progress,
        )
        decoder = fit_decoder(
            features_of(net.head, own.sentences),
            own.sentences.source,
            spec.source_words,
            self,
            seed=seed,
            device=work.device,
            progress=work.progress,
        )
        told = {"losses": losses, **account(net, decoder, own)}

        def estimate(seen: Features) -> Estimate:
            return Estimate(read_words(decoder, seen.features[:, : spec.source_length]), extra=told)

        return estimate


def fit_shadow(
    spec: Seq2SeqSpec,
    body: nn.Module,
    own: Sentences,
    settings: TextShadow,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[Seq2Seq, list[float]]:
    """Embeddings and a projection that translate through a body, which stays as it is.

    Args:
        body: the server's, frozen.
        own: what they learn from.

    Returns:
        The shadow in eval mode on the CPU, and its translation loss of each epoch.
    """
    net = Seq2Seq(spec, seed)
    net.add_module("body", copy.deepcopy(body))
    net.head.train()
    history = train_translator(
        net.head,
        net.body,
        net.tail,
        own.source,
        own.target,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        name="shadow embeddings",
    )
    return net.cpu().eval().requires_grad_(False), history.losses.get("words", [])


@torch.inference_mode()
def account(net: Seq2Seq, decoder: nn.Module, own: AuxSentences) -> dict[str, Any]:
    """How the decoder does where it was made for: the shadow's features of sentences held out."""
    if own.validation is None:
        return {}
    held_out = own.validation.worded
    read = read_words(decoder, features_of(net.head, held_out))
    shown = held_out.first(SHOWN)
    said = greedy(net, shown.source, net.spec.target_length)
    return {
        "own_words_read": float(words_read(held_out.source, read, len(SPECIAL)).mean()),
        "own_sentences": [
            {
                "sentence": own.english.decode(shown.source[row]),
                "shadow translation": own.german.decode(said[row]),
                "decoder on shadow": own.english.decode(read[row]),
            }
            for row in range(len(shown))
        ],
    }
