"""Query-free inversion of text (Liu and Xiong 2024, "Ensembler", appendix A.1), as written.

Shadow embeddings and a shadow projection learn to translate through the server's frozen body; a
decoder then learns to tell the word from the shadow's feature, and is applied to the client's.
Nothing ties the shadow's embeddings to the client's, which is why it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from adversary.contract.text_threat import Sentences, TextThreat
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.pieces import in_pieces
from splitlab.training import Batch, Progress, State, TensorSource, fit
from splitlab.training.translator import fed, train_translator

ROWS = 256
"""Sentences of one forward pass where nothing is trained."""


class TextShadow(BaseModel):
    """Settings of the shadow and of the decoder.

    Args:
        hidden: width of the decoder's middle layer; 0 for a linear one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    decoder_epochs: int = Field(default=3, ge=1)
    decoder_rate: float = Field(default=3e-3, gt=0)
    hidden: int = Field(default=0, ge=0)


@dataclass(frozen=True, eq=False)
class FittedTextShadow:
    """What the adversary ends with, in eval mode.

    Args:
        net: its own embeddings and projection around the server's body.
        decoder: per position, feature -> logits over the source's words.
        losses: translation loss of each epoch.
    """

    net: Seq2Seq
    decoder: nn.Module
    losses: list[float]


def fit_shadow(
    threat: TextThreat,
    settings: TextShadow,
    *,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> FittedTextShadow:
    """Train the shadow through the body, then the decoder on the shadow.

    Raises:
        MissingKnowledge: sizes, body or auxiliary sentences were not granted.
    """
    who = "the text shadow"
    spec, body = threat.need("spec", who), threat.need("body", who)
    own: Sentences = threat.need("auxiliary", who)
    net = Seq2Seq(spec, seed)
    net.body = body
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
    net.eval().requires_grad_(False)
    decoder = fit_decoder(
        features_of(net.head, own), own.source, spec, settings, seed=seed, device=device
    )
    return FittedTextShadow(net.cpu(), decoder, history.losses["words"])


def fit_decoder(
    features: Tensor,
    source: Tensor,
    spec: Seq2SeqSpec,
    settings: TextShadow,
    *,
    seed: int,
    device: str = "auto",
    progress: Progress | None = None,
) -> nn.Module:
    """A classifier of words, the same at every position, by cross-entropy.

    Args:
        features: [N, source_length, width], the source's part of z^.
        source: int64 [N, source_length].
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder: nn.Module = nn.Linear(spec.width, spec.source_words)
        if settings.hidden:
            decoder = nn.Sequential(
                nn.Linear(spec.width, settings.hidden),
                nn.ReLU(),
                nn.Linear(settings.hidden, spec.source_words),
            )
    optimizer = torch.optim.Adam(decoder.parameters(), lr=settings.decoder_rate)

    def step(state: State, batch: Batch) -> dict[str, Tensor]:
        seen, words = batch.tensors
        logits = state.modules["decoder"](seen)
        return {"decoder": F.cross_entropy(logits.flatten(0, 1), words.flatten())}

    fit(
        step,
        State({"decoder": decoder}, {"decoder": optimizer}),
        TensorSource((features, source)),
        epochs=settings.decoder_epochs,
        batch_size=settings.batch_size,
        seed=seed,
        device=device,
        progress=progress,
        name="decoder of words",
    )
    return decoder.eval().requires_grad_(False).cpu()


@torch.inference_mode()
def features_of(head: nn.Module, sentences: Sentences) -> Tensor:
    """A head's features of the source: float [N, source_length, width], on the CPU."""
    length = sentences.source.shape[1]
    place = next(head.parameters()).device
    tokens = fed(sentences.source, sentences.target)
    return in_pieces(lambda part: head(part)[:, :length], tokens, ROWS, place).clone()


@torch.inference_mode()
def read_words(decoder: nn.Module, features: Tensor) -> Tensor:
    """[n, T, width] -> the likeliest word at each position, int64 [n, T]."""
    return in_pieces(lambda part: decoder(part).argmax(2), features, ROWS)


def likeliest(own: Sentences) -> Tensor:
    """The floor of the adversary's own sentences, int64 [T]."""
    return likely_words(own.source)


def likely_words(source: Tensor) -> Tensor:
    """The floor: the most frequent token of each position of int64 [N, T], int64 [T]."""
    return source.mode(0).values
