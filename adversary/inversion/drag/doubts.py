"""What speaks against an answer of `drag`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from adversary.parts.budget import FULL_SIZE

LEARNED_FROM = 1000
"""Images below which what a prior knows is doubtful."""
NEARER = 0.99
"""Of its start's feature loss: what an answer has to be below, to be called nearer."""


class DiffusionEffort(NamedTuple):
    """Steps of the sampler and of the prior's training."""

    steps: int
    train_steps: int


def few(images: int) -> list[str]:
    """The doubt of a prior that has seen too little."""
    if images >= LEARNED_FROM:
        return []
    return [
        f"the prior was learned from {images} images; {LEARNED_FROM} or more were wanted, or "
        "prior=FOLDER"
    ]


def whole(images: Tensor, start: Tensor | None) -> tuple[Tensor, int]:
    """Images without those that diverged, which are the start's or grey; how many these are."""
    lost = ~images.flatten(1).isfinite().all(1)
    other = torch.full_like(images, 0.5) if start is None else start
    return other.where(lost[:, None, None, None], images), int(lost.sum())


def doubts_of(loss: float, before: float | None, lost: int, blind: Tensor) -> list[str]:
    """What speaks against the attack's result.

    Args:
        loss, before: feature loss of the answers, and of the starts where these were left.
        lost: images that diverged.
        blind: bool, images whose feature never changed with the pixels.
    """
    found = []
    if lost:
        found.append(f"diverged: {lost} of {len(blind)} images; lower guidance or learning_rate")
    if before is not None and not loss < NEARER * before:
        found.append(
            f"its images' features are no nearer than those of its start ({loss:.3g} after "
            f"{before:.3g}): the prior or the steps are too weak"
        )
    if count := int(blind.sum()):
        found.append(
            f"zero gradient: {count} of {len(blind)} features do not change with the pixels"
        )
    return found


def cut(effort: DiffusionEffort, full: DiffusionEffort, size: int) -> str:
    """The doubt of what was less than its default."""
    return (
        f"truncated: cut to a budget: images of {size} px, above {FULL_SIZE}; {effort.steps} steps "
        f"and {effort.train_steps} of the prior in place of {full.steps} and {full.train_steps}; "
        f"--attack drag:steps={full.steps},train_steps={full.train_steps} does all"
    )
