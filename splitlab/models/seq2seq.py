"""An encoder-decoder Transformer cut for text (Vaswani et al. 2017, "Attention Is All You Need").

As in Liu and Xiong ("Ensembler", appendix A.1) and the PyTorch tutorial on translation that they
took: the client keeps both embeddings (head) and the projection onto words (tail), the server runs
encoder and decoder (body). The embeddings are private, the sinusoidal positions are public. What
crosses the wire is one feature [source_length + target_length, width]: source, then target.

Sentences fill their length with the token <pad>, which is a token like any other, so that the body
needs nothing beside the feature.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

Extent = Annotated[int, Field(ge=1, le=65_536)]


class Seq2SeqSpec(BaseModel):
    """Sizes; `width` is the dimension of embeddings, `layers` counts encoder and decoder each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_words: Extent
    target_words: Extent
    source_length: Annotated[int, Field(ge=2, le=1024)]
    target_length: Annotated[int, Field(ge=2, le=1024)]
    width: Annotated[int, Field(ge=2, le=4096)] = 64
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    layers: Annotated[int, Field(ge=1, le=24)] = 2
    feedforward: Extent = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _fits(self) -> Seq2SeqSpec:
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} must divide width={self.width}")
        if self.width % 2:
            raise ValueError(f"width={self.width} must be even, for sines and cosines")
        return self

    @property
    def feature_shape(self) -> tuple[int, int]:
        """What one sentence is on the wire, in numbers."""
        return (self.source_length + self.target_length, self.width)

    @property
    def output_shape(self) -> tuple[int, int]:
        """What comes back for one sentence."""
        return (self.target_length, self.width)


def sinusoids(length: int, width: int) -> Tensor:
    """Positions [length, width] of section 3.5: sines at even places, cosines at odd ones."""
    places = torch.arange(length, dtype=torch.float64)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(1e4) / width))
    found = torch.empty(length, width, dtype=torch.float64)
    found[:, 0::2], found[:, 1::2] = (places * rates).sin(), (places * rates).cos()
    return found.float()


def positions(spec: Seq2SeqSpec) -> Tensor:
    """What is added to the embeddings: float [source_length + target_length, width]."""
    lengths = (spec.source_length, spec.target_length)
    return torch.cat([sinusoids(length, spec.width) for length in lengths])


class Seq2SeqHead(nn.Module):
    """The client's: tokens -> sqrt(width) times their embedding plus the position."""

    places: Tensor

    def __init__(self, spec: Seq2SeqSpec) -> None:
        super().__init__()
        self.source = nn.Embedding(spec.source_words, spec.width)
        self.target = nn.Embedding(spec.target_words, spec.width)
        self.scale, self.source_length = math.sqrt(spec.width), spec.source_length
        self.dropout = nn.Dropout(spec.dropout)
        self.register_buffer("places", positions(spec), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, source_length + target_length] -> z [B, same, width]."""
        source, target = tokens.split(
            [self.source_length, tokens.shape[1] - self.source_length], dim=1
        )
        words = torch.cat([self.source(source), self.target(target)], dim=1)
        return self.dropout(self.scale * words + self.places)


class Seq2SeqBody(nn.Module):
    """The server's: encoder and decoder; a target position sees only those before it and itself."""

    mask: Tensor

    def __init__(self, spec: Seq2SeqSpec) -> None:
        super().__init__()
        self.source_length = spec.source_length
        self.transformer = nn.Transformer(
            spec.width,
            spec.heads,
            spec.layers,
            spec.layers,
            spec.feedforward,
            spec.dropout,
            batch_first=True,
        )
        ahead = torch.ones(spec.target_length, spec.target_length, dtype=torch.bool).triu(1)
        self.register_buffer("mask", ahead, persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        """z [B, source_length + target_length, width] -> [B, target_length, width]."""
        source, target = z[:, : self.source_length], z[:, self.source_length :]
        return self.transformer(source, target, tgt_mask=self.mask)


class Seq2Seq(nn.Module):
    """Head, body and tail of a translator, with weights drawn under a public seed.

    Matrices begin Xavier-uniform, embeddings too, as in the tutorial.
    """

    def __init__(self, spec: Seq2SeqSpec, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head, self.body = Seq2SeqHead(spec), Seq2SeqBody(spec)
            self.tail = nn.Linear(spec.width, spec.target_words)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        self.spec = spec

    def forward(self, tokens: Tensor) -> Tensor:
        """int64 [B, source_length + target_length] -> logits [B, target_length, target_words]."""
        return self.tail(self.body(self.head(tokens)))
