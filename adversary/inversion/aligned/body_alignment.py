"""Turn a map of colours until the bodies answer a shadow's features as they answer the captures.

What is matched is the joint distribution of a body's answer to a feature and of the colours of the
picture that belongs to it: its mean and covariance, which need no pairs and no labels. A correct
map brings the two near each other; a wrong one mostly stays further away, yet with few captures it
may come as near, so that the choice between maps can go wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from adversary.inversion.aligned.body_agreement import colours_of
from adversary.inversion.aligned.colour_map import SHOWN, ColourMap, judge
from adversary.inversion.aligned.fixed_noise import FixedNoise
from adversary.inversion.aligned.head import ShadowHead
from adversary.inversion.aligned.principal_images import Whitening

STRONGEST = 16
"""Components of a body's answers that are compared; beyond them is hardly any variance."""
CRITIC, TURN = 2.0, 0.2
"""Weights of the critics' logarithm and of the distance to a rotation, beside the distance."""


class Standard(NamedTuple):
    """A body's answers in units of what it answers to the captures."""

    mean: Tensor
    basis: Tensor
    captured: Tensor

    @classmethod
    def of(cls, answers: Tensor) -> Standard:
        """From answers [n, D] to the captured features."""
        mean = answers.mean(0)
        values, vectors = torch.linalg.eigh(torch.atleast_2d(torch.cov((answers - mean).T)))
        basis = vectors[:, -STRONGEST:] / values[-1].clamp_min(1e-12).sqrt()
        return cls(mean, basis, (answers - mean) @ basis)

    def __call__(self, answers: Tensor) -> Tensor:
        return (answers - self.mean) @ self.basis


class Alignment(NamedTuple):
    """What stays the same for every map that is tried.

    Args:
        head: white pictures -> features.
        white: pictures of the captures.
        noise: as read; None where the bodies are shown features without it.
        bodies, standards: frozen networks, and their answers to the captures.
        images: own images, uint8 [m, 3, S, S].
        colours: of the own images, at the size of `white`.
        critics: of colours.
    """

    head: nn.Module
    white: Tensor
    noise: FixedNoise | None
    bodies: Sequence[nn.Module]
    standards: Sequence[Standard]
    images: Tensor
    colours: Whitening
    critics: Sequence[nn.Module]


def align(start: ColourMap, scene: Alignment, rng: torch.Generator, *, steps: int) -> ColourMap:
    """`start` after `steps` of Adam on its twelve numbers, one body and 64 own images a step."""
    colours = scene.colours
    whole = (colours.white @ start.matrix).clone().requires_grad_(True)
    shift = (colours.white @ (start.offset - colours.mean)).clone().requires_grad_(True)
    tints = colours_of(scene.images[:512].float() / 255)
    unit = tints.std(0).clamp_min(1e-6)
    optimizer = torch.optim.Adam([whole, shift], lr=0.02)
    schedule = CosineAnnealingLR(optimizer, max(1, steps))
    eye = torch.eye(3).to(whole)
    for _ in range(steps):
        found = ColourMap(colours.colour @ whole, colours.mean + colours.colour @ shift)
        rows = torch.randint(len(scene.images), (SHOWN,), generator=rng)
        images = scene.images[rows.to(scene.images.device)].float() / 255
        number = int(torch.randint(len(scene.bodies), (), generator=rng))
        features = ShadowHead(scene.head, found)(images)
        if scene.noise is not None:
            features = scene.noise.add(features)
        answers = scene.bodies[number](features)
        standard = scene.standards[number]
        own = standard(answers.flatten(2).mean(2) if answers.ndim > 2 else answers)
        pictures = found(scene.white)
        loss = distance(
            torch.cat([own, colours_of(images) / unit], 1),
            torch.cat([standard.captured, colours_of(pictures) / unit], 1),
        )
        shown = pictures[torch.randint(len(pictures), (SHOWN,), generator=rng).to(pictures.device)]
        loss = loss + CRITIC * judge(scene.critics, shown)
        loss = loss + TURN * ((whole @ whole.T - eye).square().sum() + shift.square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return ColourMap(
        (colours.colour @ whole).detach(), (colours.mean + colours.colour @ shift).detach()
    )


def distance(first: Tensor, second: Tensor) -> Tensor:
    """|mean1 - mean2|^2 + |C1 - C2|_F^2 / 4 of two sets of rows [n, D] and [m, D]; 0 for equal."""
    means = (first.mean(0) - second.mean(0)).square().sum()
    return means + (torch.cov(first.T) - torch.cov(second.T)).square().sum() / 4
