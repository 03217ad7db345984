"""Noise schedules of diffusion models (Ho et al. 2020, arXiv:2006.11239, section 4; Nichol and
Dhariwal 2021, arXiv:2102.09672, equation 17), and which of their times a sampler visits.

x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) epsilon, with epsilon of N(0, 1). Images are in
[-1, 1] here.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from splitlab.errors import BadInput

TIMES = 1000
"""Times that a prior is trained on, as in both papers."""
OFFSET, MOST_BETA = 0.008, 0.999
"""Of the cosine schedule: s, and the largest beta (its section 3.2)."""

ScheduleName = Literal["cosine", "linear"]


def alpha_bars(name: ScheduleName, times: int = TIMES) -> Tensor:
    """alpha_bar_t, float64 [times], falling strictly, in (0, 1).

    Raises:
        BadInput: fewer than 2 times.
    """
    if times < 2:
        raise BadInput(f"a noise schedule of {times} times; wanted at least 2")
    return linear(times) if name == "linear" else cosine(times)


def linear(times: int, first: float = 1e-4, last: float = 2e-2, root: bool = False) -> Tensor:
    """Betas in equal steps from `first` to `last`.

    Args:
        root: whether it is their square roots that lie in equal steps (latent diffusion's).
    """
    if root:
        betas = torch.linspace(first**0.5, last**0.5, times, dtype=torch.float64).square()
    else:
        betas = torch.linspace(first, last, times, dtype=torch.float64)
    return (1 - betas).cumprod(0)


def cosine(times: int) -> Tensor:
    """f(t + 1) / f(t) of f(t) = cos((t / times + s) / (1 + s) pi / 2)^2, betas cut at 0.999."""
    at = torch.arange(times + 1, dtype=torch.float64) / times
    level = ((at + OFFSET) / (1 + OFFSET) * math.pi / 2).cos().square()
    betas = (1 - level[1:] / level[:-1]).clamp(max=MOST_BETA)
    return (1 - betas).cumprod(0)


def visited(times: int, steps: int, strength: float = 1.0) -> list[int]:
    """Times that a sampler of `steps` steps visits, falling, the last one 0.

    They are spread evenly from the first to the last time; of these the ones are left that are not
    noisier than a share `strength` of the schedule, at least one.

    Raises:
        BadInput: more steps than times, or none.
    """
    if not 1 <= steps <= times:
        raise BadInput(f"steps={steps}: the prior has {times} times; wanted 1 to {times}")
    spread = torch.linspace(times - 1, 0, steps, dtype=torch.float64) if steps > 1 else [0.0]
    every = [round(float(time)) for time in spread]
    return every[steps - max(1, round(strength * steps)) :]


def noised(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t of x_0 and epsilon; `alpha_bar` is a number, or one a row [B]."""
    level = _rows(alpha_bar, clean)
    return level.sqrt() * clean + (1 - level).sqrt() * noise


def denoised(noisy: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_0 of x_t and the noise believed to be in it (Tweedie's formula)."""
    level = _rows(alpha_bar, noisy)
    return (noisy - (1 - level).sqrt() * noise) / level.sqrt()


def deviation(alpha_bar: Tensor, before: Tensor, eta: float) -> Tensor:
    """Of the noise that a DDIM step adds (Song et al. 2021, arXiv:2010.02502, equation 16).

    Args:
        alpha_bar: of the time that is left.
        before: of the cleaner time that is gone to; 1 for the image itself.
        eta: 0 for no noise, 1 for as much as DDPM's.
    """
    variance = (1 - before) / (1 - alpha_bar) * (1 - alpha_bar / before)
    return eta * variance.clamp_min(0).sqrt()


def _rows(alpha_bar: Tensor, images: Tensor) -> Tensor:
    level = alpha_bar.to(images)
    return level.view(-1, *[1] * (images.ndim - 1)) if level.ndim else level
