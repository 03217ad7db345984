"""Gradient descent on images until their features match (He, Zhang and Lee 2019, equation 5).

Everything is per image: many images, each with its own learning rate and weight, run as one batch
and do not touch each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from adversary.inversion.rmle.adam import descend
from adversary.parts.budget import FULL_SIZE
from adversary.parts.lbfgs import Descended, minimise
from splitlab.contracts import InputSpec
from splitlab.training import goes_on

START = 0.01
"""Deviation of the first image's normalised pixels from the mean colour. The papers begin with
zeros; a network without biases answers those with zeros, where ReLU has no slope, for ever."""

ROWS = 64
"""Images of up to `FULL_SIZE` that are optimised together; fewer of larger ones."""


@dataclass(frozen=True)
class MatchingSettings:
    """Of one descent.

    Args:
        steps: evaluations of the loss and its slope.
        learning_rate: of Adam (AMSGrad, eps 1e-3), in normalised pixels a step; None for L-BFGS
            (`adversary.parts.lbfgs`), which finds its steps itself.
        tv: weight of the total variation (`total_variation`), of normalised pixels.
        l2: weight of the mean squared normalised pixel.
        box: whether Adam keeps pixels in [0, 1] after every step; the answer is in any case.
        near: weight of the mean squared distance to the given start, of normalised pixels.
        started: whether it begins at the given start, or at the mean colour and a trace of noise.
    """

    steps: int
    learning_rate: float | None
    tv: float
    l2: float
    box: bool
    near: float = 0.0
    started: bool = False


@dataclass(frozen=True, eq=False)
class Match:
    """What a descent ends with.

    Args:
        images: [B, 3, S, S] in [0, 1].
        losses: feature loss of each image at its end [B].
        late_fall: share by which the mean feature loss still fell in the last tenth of the steps.
        blind: images [B] whose feature did not change with the pixels at all at the start.
    """

    images: Tensor
    losses: Tensor
    late_fall: float
    blind: Tensor


def total_variation(images: Tensor) -> Tensor:
    """Mean squared difference of neighbours, down plus across, of each image: [B].

    Each direction is divided by its own number of differences, as in the paper's code; weights of
    other definitions do not transfer.
    """
    down = (images[..., 1:, :] - images[..., :-1, :]).square().flatten(1).mean(1)
    across = (images[..., 1:] - images[..., :-1]).square().flatten(1).mean(1)
    return down + across


def match_features(
    head: Callable[[Tensor], Tensor],
    target: Tensor,
    settings: list[MatchingSettings],
    given: InputSpec,
    rng: torch.Generator,
    counts: Tensor | None = None,
    unit: float = 1.0,
    advance: Callable[[int], None] | None = None,
    start: Tensor | None = None,
) -> Match:
    """Minimise mean((head(x) - z^)^2) + tv TV(x) + l2 mean(x^2) + near mean((x - start)^2).

    One descent over x a row.

    Args:
        head: images [B, 3, S, S] in [0, 1] -> features, differentiable in the images.
        target: z^ [B, *feature_shape].
        settings: one for each row; their number of steps must be the same, and all have a learning
            rate or none has.
        given: size of the images, and the mean and deviation they are normalised by.
        rng: CPU generator of the first image; all rows that are not started begin with the same.
        counts: float [B, *feature_shape], weight of each element of the feature loss (0 for
            elements that carry no information); None for 1 everywhere.
        unit: what the feature loss is divided by, e.g. the variance of features, so that weights
            mean the same at every split point.
        advance: told the number of images after every step.
        start: images [B, 3, S, S] in [0, 1] at which rows begin that are `started`.

    Raises:
        ValueError: a row wants a start and there is none.
    """
    device = target.device
    mean, std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (given.mean, given.std))
    blank = (START * torch.randn(given.shape, generator=rng).to(device)).repeat(
        len(settings), 1, 1, 1
    )
    near, tv, l2 = (
        torch.tensor([float(getattr(s, name)) for s in settings], device=device)
        for name in ("near", "tv", "l2")
    )
    begun = torch.tensor([s.started for s in settings], device=device)[:, None, None, None]
    if start is None and (bool(begun.any()) or bool(near.any())):
        raise ValueError("a descent is to begin at a start, or to stay near it, and none is given")
    goal = blank if start is None else (start.to(blank) - mean) / std
    first = torch.where(begun, goal, blank)
    weight = torch.ones_like(target) if counts is None else counts
    per_image = unit * weight.flatten(1).sum(1).clamp_min(1)

    def losses(pixels: Tensor) -> tuple[Tensor, Tensor]:
        error = (head(pixels * std + mean) - target).square() * weight
        watched = error.flatten(1).sum(1) / per_image
        total = watched + tv * total_variation(pixels) + l2 * pixels.square().flatten(1).mean(1)
        if start is not None:
            total = total + near * (pixels - goal).square().flatten(1).mean(1)
        return watched, total

    blind: list[Tensor] = []

    def minimised(pixels: Tensor) -> Tensor:
        watched, total = losses(pixels)
        if not blind:  # by the features alone: what else is minimised has a slope of its own
            (slope,) = torch.autograd.grad(watched.sum(), pixels, retain_graph=True)
            blind.append(slope.flatten(1).abs().amax(1) == 0)
        return total

    def told() -> bool:
        return advance is None or goes_on(advance, len(settings))

    steps, rates = settings[0].steps, [s.learning_rate for s in settings]
    if not steps:
        found = unmoved(first)
    elif None in rates:
        found = minimise(minimised, first, steps, told)
    else:
        low, high = (0 - mean) / std, (1 - mean) / std
        boxes, fixed = [s.box for s in settings], [float(rate or 0) for rate in rates]
        found = descend(losses, first, fixed, low, high, boxes, steps, told)
    images = (found.values * std + mean).clamp(0, 1)
    before, after = float(found.earlier.mean()), float(found.losses.mean())
    fall = 1 - after / before if before > 0 and steps >= 10 else 0.0
    left = found.losses
    if None in rates or not steps:  # what was minimised is more than the features' part
        with torch.no_grad():
            left, _ = losses((images - mean) / std)
    return Match(images, left, fall, blind[0] if blind else found.blind)


def rows_at_once(size: int) -> int:
    """Images of `size` pixels a side whose descents are remembered together."""
    return max(1, min(ROWS, ROWS * FULL_SIZE**2 // size**2))


def unmoved(values: Tensor) -> Descended:
    """A descent of no steps."""
    nothing = torch.zeros(len(values), device=values.device)
    return Descended(values, nothing, nothing, nothing.bool())
