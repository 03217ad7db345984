"""Teach a translator: the client's own training, and with a frozen body the adversary's shadow."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.contracts.ranges import BatchSize, Count, Epochs, LearningRate
from splitlab.data.text.vocabulary import BEGIN, END, PAD
from splitlab.models.seq2seq import Seq2SeqSpec
from splitlab.training.fit import History, fit
from splitlab.training.progress import Progress
from splitlab.training.source import Batch, TensorSource, batch_count
from splitlab.training.state import State


class TranslatorRecipe(BaseModel):
    """Sizes of a translator, as in `Seq2SeqSpec`, and how it learns."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source_length: int = 18
    target_length: int = 18
    width: int = 64
    heads: int = 4
    layers: int = 2
    feedforward: Count = 128
    epochs: Epochs = 8
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-3

    def spec(self, source_words: int, target_words: int) -> Seq2SeqSpec:
        """The network for so many words.

        Raises:
            ValidationError: sizes that do not fit together.
        """
        words = {"source_words": source_words, "target_words": target_words}
        return Seq2SeqSpec(**words, **self.model_dump(exclude=set(self.learning)))

    @property
    def learning(self) -> dict[str, Any]:
        """What `train_translator` is told."""
        return self.model_dump(include={"epochs", "batch_size", "learning_rate"})


def fed(source: Tensor, target: Tensor) -> Tensor:
    """Source and what the decoder has seen so far: int64 [B, source_length + target_length].

    Args:
        source, target: words, <eos>, <pad>...; int64 [B, length] each.
    """
    begin = torch.full_like(target[:, :1], BEGIN)
    return torch.cat([source, begin, target[:, :-1]], dim=1)


def greedy(logits: Callable[[Tensor], Tensor], source: Tensor, length: int) -> Tensor:
    """The likeliest next word, again and again; <pad> after <eos>: int64 [B, length].

    Args:
        logits: int64 [B, source_length + length] -> [B, length, words].
        source: int64 [B, source_length].
    """
    target = torch.full((len(source), length), PAD)
    open_rows = torch.ones(len(target), dtype=torch.bool)
    for place in range(length):
        word = logits(fed(source, target))[:, place].argmax(1)
        target[:, place] = torch.where(open_rows, word, PAD)
        open_rows &= word != END
        if not open_rows.any():
            break
    return target


def train_translator(
    head: nn.Module,
    body: nn.Module,
    tail: nn.Module,
    source: Tensor,
    target: Tensor,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    name: str = "translator",
) -> History:
    """Cross-entropy of each next target word, <pad> left out; Adam, warmed up and cooled down.

    What requires no gradient is not trained; a frozen body stays in the mode it came in.

    Args:
        source, target: int64 [N, length], from `Vocabulary.encode`.
        learning_rate: the highest of the schedule.
    """
    parts = {"head": head, "body": body, "tail": tail}
    learned = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, lr=learning_rate, betas=(0.9, 0.98), eps=1e-9)
    steps = max(1, epochs * batch_count(len(source), batch_size))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    state = State(parts, {"words": optimizer}, {"words": schedule})

    def step(state: State, batch: Batch) -> dict[str, Tensor]:
        source, target = batch.tensors
        now = state.modules
        logits = now["tail"](now["body"](now["head"](fed(source, target))))
        return {"words": F.cross_entropy(logits.transpose(1, 2), target, ignore_index=PAD)}

    return fit(
        step,
        state,
        TensorSource((source, target)),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        name=name,
    )


def _share(step: int, steps: int) -> float:
    """Of the highest learning rate: up in the first fifth, then down on a half cosine."""
    warm = max(1, steps // 5)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
