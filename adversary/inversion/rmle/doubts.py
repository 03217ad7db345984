"""What `rmle` answers with, and what speaks against it without the truth."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import torch

from adversary.inversion.rmle.matching import Match, MatchingSettings
from adversary.parts.budget import FULL_SIZE
from splitlab.contracts import Estimate

STILL_FALLING, CONVERGED = 0.01, 1e-5
"""A descent is cut short if its loss fell by more than this share over its last tenth, unless the
loss is below this share of the features' variance."""


class Descent(NamedTuple):
    """Steps of a descent; validation images and steps of a trial of settings."""

    steps: int
    choose_images: int
    choose_steps: int


def estimate_of(settings: MatchingSettings, matches: list[Match], share: float) -> Estimate:
    """Images with what is doubtful; `share` turns a loss into a share of the features' variance."""
    losses = torch.cat([m.losses for m in matches]).cpu()
    fall = max(m.late_fall for m in matches)
    blind = int(sum(m.blind.sum() for m in matches))
    doubts = []
    if fall > STILL_FALLING and float(losses.mean()) * share > CONVERGED:
        doubts.append(
            f"truncated: the loss still fell by {100 * fall:z.0f} % over the last tenth of "
            f"{settings.steps} steps"
        )
    if blind:
        doubts.append(
            f"zero gradient: {blind} of {len(losses)} features do not change with the pixels"
        )
    extra = {**asdict(settings), "feature_loss": float(losses.mean()), "late_fall": fall}
    return Estimate(torch.cat([m.images for m in matches]).cpu(), doubts, extra)


def cut_to_budget(effort: Descent, full: Descent, size: int) -> str:
    """The doubt of a descent that was shorter than its default."""
    return (
        f"cut to a budget: images of {size} px, above {FULL_SIZE}; {effort.steps} steps in place "
        f"of {full.steps}, settings chosen on {effort.choose_images} images in "
        f"{effort.choose_steps} steps in place of {full.choose_images} and {full.choose_steps}; "
        f"--attack rmle:steps={full.steps} descends in full"
    )
