"""Words out of a text network's features: a decoder of words, and the floor of all attacks on text.

In the features of a text network the source's places come first, then the target's; what is read
is the source.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate
from splitlab.data.text.tokens import Sentences
from splitlab.pieces import in_pieces
from splitlab.training import Batch, Progress, State, TensorSource, fit
from splitlab.training.translator import fed

ROWS = 256
"""Sentences of one forward pass where nothing is trained."""


class WordDecoding(BaseModel):
    """How a decoder of words learns.

    Args:
        hidden: width of its middle layer; 0 for a linear one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: BatchSize = 64
    decoder_epochs: Epochs = 3
    decoder_rate: LearningRate = 3e-3
    hidden: int = Field(default=0, ge=0)


def fit_decoder(
    features: Tensor,
    source: Tensor,
    words: int,
    settings: WordDecoding,
    *,
    seed: int,
    device: str = "auto",
    progress: Progress | None = None,
) -> nn.Module:
    """A classifier of words, the same at every position, by cross-entropy; on the CPU.

    Args:
        features: [N, source_length, width], the source's part of z^.
        source: int64 [N, source_length], below `words`.
    """
    width = features.shape[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder: nn.Module = nn.Linear(width, words)
        if settings.hidden:
            decoder = nn.Sequential(
                nn.Linear(width, settings.hidden), nn.ReLU(), nn.Linear(settings.hidden, words)
            )
    optimizer = torch.optim.Adam(decoder.parameters(), lr=settings.decoder_rate)

    def step(state: State, batch: Batch) -> dict[str, Tensor]:
        seen, truth = batch.tensors
        logits = state.modules["decoder"](seen)
        return {"decoder": F.cross_entropy(logits.flatten(0, 1), truth.flatten())}

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
def read_words(decoder: nn.Module, features: Tensor) -> Tensor:
    """[n, T, width] -> the likeliest word at each position, int64 [n, T]."""
    return in_pieces(lambda part: decoder(part).argmax(2), features, ROWS).clone()


@torch.inference_mode()
def features_of(head: nn.Module, sentences: Sentences) -> Tensor:
    """A head's features of the source: float [N, source_length, width], on the CPU."""
    length = sentences.source.shape[1]
    place = next(head.parameters()).device
    tokens = fed(sentences.source, sentences.target)
    return in_pieces(lambda part: head(part)[:, :length], tokens, ROWS, place).clone()


def likeliest(own: Sentences) -> Tensor:
    """The floor: the most frequent token of each position, int64 [source_length]."""
    return own.source.mode(0).values
