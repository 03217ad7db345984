"""DRAG's sampler (Lei et al. 2025, "DRAG: Data Reconstruction Attack using Guided Diffusion", ICML,
arXiv:2509.11724): DDIM steps whose noise is turned towards a smaller feature loss.

Each step predicts the clean image, takes the loss of its feature down to the noisy image, clips the
slope, smooths it as Adam does, and mixes it with the step's random noise on the sphere where such
noise lies (DSG: Yang et al. 2024, arXiv:2402.03201). Then it goes back up by fresh noise and does
so again, `recurrence` times a step. All of these, the presets' numbers and the penalties of
roughness and size were read in the authors' code (ntuaislab/DRAG, run_drag_dm.py and its config),
not in the paper. There the only inner updates are those of the self-recurrence. Not published as
DRAG is `inner`: a descent on the clean image between the prior's guess and the feature, as DiffPIR
has it for restoration (Zhu et al. 2023, arXiv:2305.08995, equation 13), with the spread of PiGDM
(Song et al. 2023, ICLR, section 3). A turned step is as long as the noise is, and forgets at each
step what it does not hold; of a Gaussian prior only the descent finds the posterior mean. Ours are:
victims in one batch, where norms, clipping and draws are each row's own; a loss in units of the
features' variance; a clean image that is held in [-1, 1]; and the times that are visited, both ends
of the schedule among them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from adversary.inversion.drag.schedule import denoised, deviation, noised, visited
from adversary.parts.lbfgs import minimise
from splitlab.training import goes_on

Epsilon = Callable[[Tensor, Tensor], Tensor]
"""(x_t [B, 3, S, S], t int64 [B]) -> the noise that is in it."""
Distance = Literal["squared", "cosine"]
FIRST, SECOND, EPS = 0.9, 0.999, 1e-8
"""Adam's, of the slope's mean and mean square."""


@dataclass(frozen=True)
class GuidanceSettings:
    """
    Args:
        steps: times of the schedule that are visited.
        recurrence: guided updates at each.
        inner: evaluations of a descent on the clean image at each update; 0 for none.
        noise: variance that features are believed to have around the image's, in `unit`, for that
            descent: the smaller, the less the prior has to say.
        guidance: share of a step's noise that is the slope's direction, before the sum is brought
            back to the noise's length; 0 for the prior alone.
        eta: share of DDPM's noise in a step. Without noise there is nothing to turn.
        clip: longest slope of a row.
        tv, l2: weights of `roughness` and of the mean square of the clean image in [-1, 1].
        strength: where on the schedule it begins, where a start is given; 1 for noise alone.
        distance: mean squared difference of features, or 1 - cosine of the angle between them.
    """

    steps: int = 50
    recurrence: int = 1
    inner: int = 10
    noise: float = 1e-3
    guidance: float = 0.0
    eta: float = 1.0
    clip: float = 0.02
    tv: float = 0.0
    l2: float = 0.0
    strength: float = 1.0
    distance: Distance = "squared"


class GuidedSamples(NamedTuple):
    """
    Args:
        images: [B, 3, S, S] in [0, 1]; a row that diverged is NaN.
        losses: feature loss of the images [B].
        blind: rows whose feature never changed with the pixels [B].
    """

    images: Tensor
    losses: Tensor
    blind: Tensor


class _Smoothed:
    """Adam's direction of the slopes so far, of each element."""

    def __init__(self) -> None:
        self.count, self.mean, self.square = 0, torch.zeros(()), torch.zeros(())

    def __call__(self, slope: Tensor) -> Tensor:
        self.count += 1
        self.mean = FIRST * self.mean.to(slope) + (1 - FIRST) * slope
        self.square = SECOND * self.square.to(slope) + (1 - SECOND) * slope.square()
        mean = self.mean / (1 - FIRST**self.count)
        return mean / ((self.square / (1 - SECOND**self.count)).sqrt() + EPS)


def roughness(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, down plus across, of each image: [B]."""
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().flatten(1).mean(1)
    across = (images[..., 1:] - images[..., :-1]).abs().flatten(1).mean(1)
    return down + across


def feature_distance(
    found: Tensor, target: Tensor, distance: Distance, unit: float, counts: Tensor | None
) -> Tensor:
    """Of each row [B]; see `guided_samples`."""
    weight = torch.ones_like(target) if counts is None else counts
    if distance == "cosine":
        return 1 - F.cosine_similarity((found * weight).flatten(1), (target * weight).flatten(1))
    error = ((found - target).square() * weight).flatten(1).sum(1)
    return error / (unit * weight.flatten(1).sum(1).clamp_min(1))


def guided_samples(
    epsilon: Epsilon,
    alpha_bar: Tensor,
    head: Callable[[Tensor], Tensor],
    target: Tensor,
    settings: GuidanceSettings,
    rngs: Sequence[torch.Generator],
    size: int,
    *,
    start: Tensor | None = None,
    counts: Tensor | None = None,
    unit: float = 1.0,
    advance: Callable[[int], None] | None = None,
) -> GuidedSamples:
    """Images of the prior whose features are near to the given ones, an image a row.

    Args:
        epsilon: the prior, of images in [-1, 1].
        alpha_bar: of each time that it knows [times].
        head: images [B, 3, size, size] in [0, 1] -> features, differentiable.
        target: z^ [B, *feature_shape].
        rngs: CPU generators, one a row: with it a row is what it would be alone.
        size: side of the prior's images in pixels.
        start: images [B, 3, size, size] in [0, 1]; a noised one is begun at.
        counts: float, as `target`: weight of each element of the loss; None for 1.
        unit: what squared differences are divided by, e.g. the features' variance.
        advance: told the number of rows after every update.

    Raises:
        BadInput: more steps than the prior has times.
        ValueError: another number of generators than of rows.
    """
    if len(rngs) != len(target):
        raise ValueError(f"{len(rngs)} generators and {len(target)} rows; wanted one each")
    shape, place = (3, size, size), target.device
    levels = alpha_bar.to(place, torch.float32)
    one = torch.ones((), device=place)

    def drawn() -> Tensor:
        return torch.stack([torch.randn(shape, generator=rng) for rng in rngs]).to(place)

    numbers = target[0].numel() if counts is None else counts.flatten(1).sum(1)

    def distance(clean: Tensor) -> Tensor:
        return feature_distance(head((clean + 1) / 2), target, settings.distance, unit, counts)

    def predicted(x: Tensor, at: Tensor, level: Tensor) -> tuple[Tensor, Tensor | None]:
        """The clean image and, where there is guidance, the slope down to the noisy one."""
        with torch.set_grad_enabled(settings.guidance > 0):
            x = x.detach().requires_grad_(settings.guidance > 0)
            noise = epsilon(x, at)
            clean = denoised(x, noise, level)
            if not settings.guidance:
                return clean, None
            total = distance(clean.clamp(-1, 1)) + settings.tv * roughness((clean + 1) / 2)
            total = total + settings.l2 * clean.square().flatten(1).mean(1)
            (slope,) = torch.autograd.grad(total.sum(), x)
        return clean.detach(), slope

    strength = settings.strength if start is not None else 1.0
    times = visited(len(levels), settings.steps, strength)
    x = drawn()
    if start is not None:
        x = noised(2 * start.to(x) - 1, x, levels[times[0]])
    smoothed, blind, going = _Smoothed(), torch.ones(len(x), dtype=torch.bool, device=place), True
    for number, time in enumerate(times):
        level = levels[time]
        before = levels[times[number + 1]] if number + 1 < len(times) else one
        spread = deviation(level, before, settings.eta)
        radius = spread * x[0].numel() ** 0.5
        for again in range(settings.recurrence):
            at = torch.full((len(x),), time, device=place)
            clean, slope = predicted(x, at, level)
            with torch.no_grad():
                turned = spread * drawn()
                if slope is not None:
                    blind &= slope.flatten(1).abs().amax(1) == 0
                    step = -_unit(smoothed(_clipped(slope, settings.clip)))
                    turned = torch.lerp(turned, radius * step, settings.guidance)
                    turned = radius * _unit(turned)
                clean = clean.clamp(-1, 1)
            if settings.inner:
                clean, still = _between(clean, level, distance, numbers, settings)
                blind &= still
            with torch.no_grad():
                noise = (x - level.sqrt() * clean) / (1 - level).sqrt()
                kept = (1 - before - spread.square()).clamp_min(0).sqrt()
                x = before.sqrt() * clean + kept * noise + turned
                if again + 1 < settings.recurrence:
                    x = noised(x, drawn(), level / before)
            going = advance is None or goes_on(advance, len(x))
            if not going:
                break
        if not going:
            break
    with torch.no_grad():
        images = ((x.detach() + 1) / 2).clamp(0, 1)
        losses = distance(2 * images - 1)
    return GuidedSamples(images, losses, blind)


def _between(
    guess: Tensor,
    level: Tensor,
    distance: Callable[[Tensor], Tensor],
    numbers: Tensor | int,
    settings: GuidanceSettings,
) -> tuple[Tensor, Tensor]:
    """argmin over x of numbers distance(x) / noise + |x - guess|^2 / (1 - alpha_bar), and which
    rows had no slope of the first.
    """
    weight = (1 - level) * numbers / settings.noise

    def loss(clean: Tensor) -> Tensor:
        return weight * distance(clean) + (clean - guess).square().flatten(1).sum(1)

    found = minimise(loss, guess, settings.inner)
    return found.values.clamp(-1, 1), found.blind


def _unit(rows: Tensor) -> Tensor:
    """Each row at length 1; one of length 0 stays."""
    return F.normalize(rows.flatten(1), dim=1).view_as(rows)


def _clipped(rows: Tensor, longest: float) -> Tensor:
    lengths = rows.flatten(1).norm(dim=1)
    return rows * (longest / lengths.clamp_min(longest)).view(-1, 1, 1, 1)
