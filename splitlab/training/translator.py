"""Teach a translator: the client's own training, and with a frozen body the adversary's shadow."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitlab.data.text.vocabulary import BEGIN, PAD
from splitlab.training.fit import History, fit
from splitlab.training.progress import Progress
from splitlab.training.source import Batch, TensorSource, batch_count
from splitlab.training.state import State


def fed(source: Tensor, target: Tensor) -> Tensor:
    """Source and what the decoder has seen so far: int64 [B, source_length + target_length].

    Args:
        source, target: words, <eos>, <pad>...; int64 [B, length] each.
    """
    begin = torch.full_like(target[:, :1], BEGIN)
    return torch.cat([source, begin, target[:, :-1]], dim=1)


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
