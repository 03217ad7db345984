"""Images from nothing but batch norms (Yin et al. 2020, "Dreaming to Distill", section 3; what DCI,
Dong et al., equation 4, learns on): noise that is pulled until its statistics are those that the
network remembers of the images it was trained on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from adversary.synthesis.batch_norm_gap import BatchNormGap
from adversary.synthesis.natural_noise import natural_noise
from adversary.synthesis.settings import SynthesisSettings
from splitlab.contracts import InputSpec
from splitlab.errors import BadInput
from splitlab.randomness import generator
from splitlab.training import Work, goes_on


@dataclass(frozen=True, eq=False)
class Known:
    """What of a network its adversary looks at.

    Args:
        modules: in the order of the forward pass, frozen, in eval mode; images in [0, 1] first.
        input: of the network.
        whole: whether the last one answers with logits.
    """

    modules: Sequence[nn.Module]
    input: InputSpec
    whole: bool

    @classmethod
    def of(cls, threat: ThreatModel) -> Known:
        """The head, and behind it one body and the tail where both are granted.

        Raises:
            MissingKnowledge: no head or no input.
        """
        who = "data-free synthesis"
        head, given = threat.need("head", who), threat.need("input", who)
        bodies = threat.bodies
        if bodies is not None and len(bodies) == 1 and threat.tail is not None:
            return cls((head, bodies[0], threat.tail), given, True)
        return cls((head,), given, False)


@dataclass(frozen=True, eq=False)
class Wish:
    """What single images are drawn to, beside the statistics that they share.

    Args:
        classes: int64 [B], in place of random ones; None for random ones.
        feature: [B, *feature_shape], what the first module shall answer.
        weight: of the mean squared difference to it, in units of its variance.
        norm: weight of the mean squared output of the first module, which shall be large.
    """

    classes: Tensor | None = None
    feature: Tensor | None = None
    weight: float = 0.0
    norm: float = 0.0

    def loss(self, answer: Tensor) -> Tensor:
        """Of the first module's output; both terms mean the same at every split point."""
        total = answer.new_zeros(())
        if self.feature is not None and self.weight:
            unit = self.feature.var().clamp_min(1e-12)
            total = total + self.weight * F.mse_loss(answer, self.feature) / unit
        if self.norm:
            total = total - self.norm * answer.square().mean().clamp_min(1e-12).log()
        return total


class MadeBatch(NamedTuple):
    """
    Args:
        images: [B, 3, S, S] in [0, 1].
        classes: int64 [B], what they were drawn to; zeros where they were drawn to none.
        facts: objective at the start and at the end, and the errors of the statistics.
    """

    images: Tensor
    classes: Tensor
    facts: dict[str, Any]


def synthesise(
    known: Known,
    settings: SynthesisSettings,
    *,
    seed: int,
    number: int,
    device: torch.device,
    work: Work | None = None,
    wish: Wish | None = None,
) -> MadeBatch:
    """Batch `number` of the run with this public seed; it depends on no other batch.

    Args:
        wish: for as many images as a batch has.

    Raises:
        BadInput: no batch norm though its statistics count, or classes are asked for and the tail
            is not known.
    """
    wish = wish or Wish()
    if settings.classes and not known.whole:
        raise BadInput(
            f"classes={settings.classes:g}: the logits are known only with head, body and tail; "
            "grant them, or take classes=0"
        )
    rng = generator(seed, "synthesis", number)
    given, count = known.input, settings.batch_size
    # Copies: what was granted stays where it is, and as it lies.
    modules = [
        copy.deepcopy(module).to(device).to(memory_format=torch.channels_last)
        for module in known.modules
    ]
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (given.mean, given.std))
    if settings.start == "natural":
        pixels = natural_noise(count, given.shape, rng).to(device)
    else:
        pixels = torch.randn(count, *given.shape, generator=rng).to(device)
    pixels = pixels.contiguous(memory_format=torch.channels_last).requires_grad_(True)
    wanted = torch.zeros(count, dtype=torch.int64)
    if settings.classes and wish.classes is None:
        wanted = _classes(modules, mean.expand(1, *given.shape), count, rng)
    elif wish.classes is not None:
        wanted = wish.classes.cpu()
    told: list[Tensor] = []
    targets = wanted.to(device)
    with BatchNormGap(modules) if settings.statistics else nullcontext() as gap:
        for half, steps in ((True, settings.half_steps), (False, settings.steps)):
            optimizer = torch.optim.Adam([pixels], betas=(settings.beta1, settings.beta2), eps=1e-8)
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = _rate(settings, step, steps)
                moved = _moved(F.avg_pool2d(pixels, 2) if half else pixels, settings, half, rng)
                answer = modules[0](moved * std + mean)
                loss = _plain(moved, settings) + wish.loss(answer)
                for module in modules[1:]:
                    answer = module(answer)
                if gap is not None:
                    loss = loss + settings.statistics * gap.loss(settings.first)
                if settings.classes:
                    loss = loss + settings.classes * F.cross_entropy(answer, targets)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                if settings.clip:
                    pixels.data.copy_(((pixels.data * std + mean).clamp(0, 1) - mean) / std)
                told = [*told[:1], loss.detach()]
                if work is not None and not goes_on(work.advance, count, told[-1]):
                    break
        with torch.no_grad():
            images = (pixels * std + mean).clamp(0, 1)
            nn.Sequential(*modules)(images)  # the gap listens
            errors = gap.errors() if gap is not None else []
    facts = {
        "objective": [round(float(told[0]), 6), round(float(told[-1]), 6)],
        "mean_error": [round(a, 4) for a, _ in errors],
        "variance_error": [round(b, 4) for _, b in errors],
    }
    return MadeBatch(images.cpu().contiguous(), wanted, facts)


@torch.no_grad()
def _classes(
    modules: Sequence[nn.Module], image: Tensor, count: int, rng: torch.Generator
) -> Tensor:
    """Random classes int64 [count]; how many there are, the logits of any image say."""
    logits = nn.Sequential(*modules)(image)
    return torch.randint(logits.shape[1], (count,), generator=rng)


def _rate(settings: SynthesisSettings, step: int, steps: int) -> float:
    """The learning rate of one step: a straight rise, then half a cosine or no change."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    if not settings.decay:
        return settings.learning_rate
    done = (step - settings.warm_up) / max(1, steps - settings.warm_up)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _moved(pixels: Tensor, settings: SynthesisSettings, half: bool, rng: torch.Generator) -> Tensor:
    """Shifted and mirrored, the whole batch alike."""
    most = settings.roll // 2 if half else settings.roll
    if most:
        down, across = torch.randint(-most, most + 1, (2,), generator=rng).tolist()
        pixels = pixels.roll((down, across), (2, 3))
    if float(torch.rand((), generator=rng)) < settings.flip:
        pixels = pixels.flip(3)
    return pixels


def _plain(pixels: Tensor, settings: SynthesisSettings) -> Tensor:
    """What natural images are in any network's eyes: smooth, and not far from grey."""
    neighbours = (
        pixels[..., :, 1:] - pixels[..., :, :-1],
        pixels[..., 1:, :] - pixels[..., :-1, :],
        pixels[..., 1:, 1:] - pixels[..., :-1, :-1],
        pixels[..., 1:, :-1] - pixels[..., :-1, 1:],
    )
    variation = torch.stack([one.norm() for one in neighbours]).sum()
    return settings.tv * variation + settings.l2 * pixels.flatten(1).norm(dim=1).mean()
