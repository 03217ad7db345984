"""Gradient descent on images until their features match (He, Zhang and Lee 2019, equation 5).

Everything is per image: many images, each with its own learning rate and weight, run as one batch
and do not touch each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from splitlab.contracts import InputSpec
from splitlab.training import goes_on

START = 0.01
"""Deviation of the first image's normalised pixels from the mean colour. The papers begin with
zeros; a network without biases answers those with zeros, where ReLU has no slope, for ever."""


@dataclass(frozen=True)
class MatchingSettings:
    """Of one descent.

    Args:
        steps: of Adam (AMSGrad, eps 1e-3), from the mean colour and a trace of noise.
        learning_rate: in units of normalised pixels a step.
        tv: weight of the total variation (`total_variation`), of normalised pixels.
        l2: weight of the mean squared normalised pixel.
        box: whether pixels are kept in [0, 1] after every step.
    """

    steps: int
    learning_rate: float
    tv: float
    l2: float
    box: bool


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
) -> Match:
    """Minimise mean((head(x) - z^)^2) + tv TV(x) + l2 mean(x^2) over x, one descent a row.

    Args:
        head: images [B, 3, S, S] in [0, 1] -> features, differentiable in the images.
        target: z^ [B, *feature_shape].
        settings: one for each row; their number of steps must be the same.
        given: size of the images, and the mean and deviation they are normalised by.
        rng: CPU generator of the first image; all rows begin with the same.
        counts: float [B, *feature_shape], weight of each element of the feature loss (0 for
            elements that carry no information); None for 1 everywhere.
        unit: what the feature loss is divided by, e.g. the variance of features, so that weights
            mean the same at every split point.
        advance: told the number of images after every step.
    """
    device = target.device
    mean, std = (torch.tensor(v, device=device).view(-1, 1, 1) for v in (given.mean, given.std))
    low, high = (0 - mean) / std, (1 - mean) / std
    start = START * torch.randn(given.shape, generator=rng).to(device)
    # One tensor for each learning rate: Adam works element by element, and once a step on each.
    rates = sorted({s.learning_rate for s in settings})
    of = [[n for n, s in enumerate(settings) if s.learning_rate == rate] for rate in rates]
    place = torch.tensor([n for rows in of for n in rows], device=device).argsort()
    leaves = [start.repeat(len(rows), 1, 1, 1).requires_grad_() for rows in of]
    optimizer = torch.optim.Adam(
        [{"params": [leaf], "lr": rate} for leaf, rate in zip(leaves, rates, strict=True)],
        eps=1e-3,
        amsgrad=True,
    )
    boxes = [
        torch.tensor([settings[n].box for n in rows], device=device)[:, None, None, None]
        for rows in of
    ]
    tv, l2 = (torch.tensor([getattr(s, k) for s in settings], device=device) for k in ("tv", "l2"))
    weight = torch.ones_like(target) if counts is None else counts
    per_image = unit * weight.flatten(1).sum(1).clamp_min(1)
    steps = settings[0].steps
    earlier = losses = torch.zeros(len(settings), device=device)
    blind = torch.zeros(len(settings), dtype=torch.bool, device=device)
    for step in range(steps):
        pixels = torch.cat(leaves)[place] if len(leaves) > 1 else leaves[0]
        error = (head(pixels * std + mean) - target).square() * weight
        losses = error.flatten(1).sum(1) / per_image
        if step == 0:
            (slope,) = torch.autograd.grad(losses.sum(), pixels, retain_graph=True)
            blind = slope.flatten(1).abs().amax(1) == 0
        if step == steps - 1 - steps // 10:
            earlier = losses.detach()
        total = losses + tv * total_variation(pixels) + l2 * pixels.square().flatten(1).mean(1)
        optimizer.zero_grad(set_to_none=True)
        total.sum().backward()
        optimizer.step()
        with torch.no_grad():
            for leaf, box in zip(leaves, boxes, strict=True):
                leaf.copy_(torch.where(box, leaf.clamp(low, high), leaf))
        if advance is not None and not goes_on(advance, len(settings)):
            break
    before = float(earlier.mean())
    fall = 1 - float(losses.detach().mean()) / before if before > 0 and steps >= 10 else 0.0
    images = (torch.cat(leaves)[place].detach() * std + mean).clamp(0, 1)
    return Match(images, losses.detach(), fall, blind)
