"""Descent on images until their features match (He, Zhang and Lee 2019, equation 5).

Everything is per image: many images, each with its own learning rate and weight, run as one batch
and do not touch each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from adversary.inversion.rmle.adam import descend
from adversary.parts.budget import FULL_SIZE
from adversary.parts.lbfgs import Descended, minimise
from adversary.parts.spectrum import Spectrum
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
        near: weight of the mean squared distance to the given start, of normalised pixels. With a
            spectrum the strength of the prior: the noise of a feature, as a share of `unit`.
        started: whether it begins at the given start, or at the mean colour and a trace of noise.
        spectral: whether it descends in the coordinates of a spectrum; L-BFGS alone.
    """

    steps: int
    learning_rate: float | None
    tv: float
    l2: float
    box: bool
    near: float = 0.0
    started: bool = False
    spectral: bool = False


class Spectra(NamedTuple):
    """What images differ by from a blank start, and from another attack's."""

    blank: Spectrum
    start: Spectrum | None = None


@dataclass(frozen=True, eq=False)
class Match:
    """What a descent ends with.

    Args:
        images: [B, 3, S, S] in [0, 1].
        losses: feature loss of each image at its end [B].
        falls: share by which what is minimised still fell in the last tenth of the steps, of each
            image [B]; 0 after fewer than 10 steps.
        late_fall: the same of its mean over the images.
        blind: images [B] whose feature did not change with the pixels at all at the start.
    """

    images: Tensor
    losses: Tensor
    falls: Tensor
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
    spectra: Spectra | None = None,
) -> Match:
    """Minimise mean((head(x) - z^)^2) + tv TV(x) + l2 mean(x^2) + near mean((x - start)^2).

    One descent over x a row, or, where it is `spectral`, over coordinates u with x = where it
    began + what they stand for, and near sum(u^2) / (numbers of a feature): the most likely image
    under a Gaussian prior, if features came with noise of `near` times `unit`.

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
        spectra: for rows that are `spectral`.

    Raises:
        ValueError: a row wants a start or a spectrum and there is none.
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
    spectral = torch.tensor([s.spectral for s in settings], device=device)[:, None, None, None]
    if start is None and any(s.started or (s.near and not s.spectral) for s in settings):
        raise ValueError("a descent is to begin at a start, or to stay near it, and none is given")
    goal = blank if start is None else (start.to(blank) - mean) / std
    first = torch.where(begun, goal, blank)
    bases = _bases(settings, spectra, target)
    weight = torch.ones_like(target) if counts is None else counts
    numbers = weight.flatten(1).sum(1).clamp_min(1)
    per_image = unit * numbers
    parts = torch.where(spectral.flatten(), numbers, torch.full_like(numbers, first[0].numel()))

    def placed(values: Tensor) -> Tensor:
        pixels = values
        for rows, basis in bases:
            moved = first + basis.difference(values) / std
            pixels = moved if len(bases) == 1 and spectral.all() else moved.where(rows, pixels)
        return pixels

    def losses(values: Tensor) -> tuple[Tensor, Tensor]:
        pixels = placed(values)
        error = (head(pixels * std + mean) - target).square() * weight
        watched = error.flatten(1).sum(1) / per_image
        total = watched + tv * total_variation(pixels) + l2 * pixels.square().flatten(1).mean(1)
        if start is not None or bases:
            apart = torch.where(spectral, values, pixels - goal) if bases else pixels - goal
            total = total + near * apart.square().flatten(1).sum(1) / parts
        return watched, total

    blind: list[Tensor] = []

    def minimised(values: Tensor) -> Tensor:
        watched, total = losses(values)
        if not blind:  # by the features alone: what else is minimised has a slope of its own
            (slope,) = torch.autograd.grad(watched.sum(), values, retain_graph=True)
            blind.append(slope.flatten(1).abs().amax(1) == 0)
        return total

    def told() -> bool:
        return advance is None or goes_on(advance, len(settings))

    steps, rates = settings[0].steps, [s.learning_rate for s in settings]
    origin = torch.where(spectral, torch.zeros_like(first), first) if bases else first
    if not steps:
        found = unmoved(origin)
    elif None in rates:
        found = minimise(minimised, origin, steps, told)
    else:
        low, high = (0 - mean) / std, (1 - mean) / std
        boxes, fixed = [s.box for s in settings], [float(rate or 0) for rate in rates]
        found = descend(losses, first, fixed, low, high, boxes, steps, told)
    with torch.no_grad():
        images = (placed(found.values) * std + mean).clamp(0, 1)
    falls = 1 - found.losses / found.earlier.clamp_min(torch.finfo(first.dtype).tiny)
    falls = falls.nan_to_num(0.0) if steps >= 10 else torch.zeros_like(falls)
    before, after = float(found.earlier.mean()), float(found.losses.mean())
    fall = 1 - after / before if before > 0 and steps >= 10 else 0.0
    left = found.losses
    if None in rates or not steps:  # what was minimised is more than the features' part
        with torch.no_grad():
            error = (head(images) - target).square() * weight
            left = error.flatten(1).sum(1) / per_image
    return Match(images, left, falls, fall, blind[0] if blind else found.blind)


def _bases(
    settings: list[MatchingSettings], spectra: Spectra | None, place: Tensor
) -> list[tuple[Tensor, Spectrum]]:
    """The rows of each spectrum, bool [B, 1, 1, 1]; none where all are plain."""
    found = []
    for started in (False, True):
        rows = [s.spectral and s.started == started for s in settings]
        own = None if spectra is None else (spectra.start if started else spectra.blank)
        if not any(rows):
            continue
        if own is None:
            raise ValueError("a descent wants the spectrum of where it begins, and none is given")
        mask = torch.tensor(rows, device=place.device)[:, None, None, None]
        found.append((mask, own.to(place)))
    return found


def rows_at_once(size: int) -> int:
    """Images of `size` pixels a side whose descents are remembered together."""
    return max(1, min(ROWS, ROWS * FULL_SIZE**2 // size**2))


def unmoved(values: Tensor) -> Descended:
    """A descent of no steps."""
    nothing = torch.zeros(len(values), device=values.device)
    return Descended(values, nothing, nothing, nothing.bool())
