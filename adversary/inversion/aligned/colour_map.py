"""Find the affine map from principal images to natural colours that a critic of colours likes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from adversary.inversion.aligned.colour_critic import rotations
from adversary.inversion.aligned.principal_images import Whitening

HELD = 4.0
"""Weight of the distance to a rotation, in white units, against the critics' logarithm."""
ALIKE = 2.8
"""Rotations R, S are as good as the same where trace(R^T S) is above it; 3 for equal ones."""
SHOWN = 64
"""Images that a candidate is judged on while candidates are many."""


class ColourMap(NamedTuple):
    """colours = matrix @ white + offset, [3, 3] and [3]."""

    matrix: Tensor
    offset: Tensor

    def __call__(self, white: Tensor) -> Tensor:
        """[n, 3, h, w] white principal images -> images, not clamped."""
        mixed = torch.einsum("ij,njhw->nihw", self.matrix.to(white), white)
        return mixed + self.offset.to(white).view(1, 3, 1, 1)

    def inverse(self, images: Tensor) -> Tensor:
        """Images [n, 3, h, w] -> the white images that they come from."""
        back = torch.linalg.inv(self.matrix).to(images)
        return torch.einsum("ij,njhw->nihw", back, images - self.offset.to(images).view(1, 3, 1, 1))


def candidates(
    critics: Sequence[nn.Module],
    white: Tensor,
    colours: Whitening,
    rng: torch.Generator,
    *,
    tried: int,
    kept: int,
    apart: float = 2.0,
) -> list[ColourMap]:
    """The best of `tried` rotations to the own images' colours, no two of them alike.

    Args:
        white: principal images [n, 3, h, w].
        apart: two rotations R, S are alike where trace(R^T S) is above this; 3 for equal ones,
            2 at an angle of 60 degrees.
    """
    turns = rotations(tried, rng)
    shown = white[torch.randperm(len(white), generator=rng)[:SHOWN]]
    maps = [ColourMap(colours.colour @ turn.to(colours.colour), colours.mean) for turn in turns]
    with torch.no_grad():
        judged = torch.stack([judge(critics, one(shown)) for one in maps])
    chosen: list[int] = []
    for index in judged.argsort().tolist():
        if all(float((turns[index] * turns[other]).sum()) < apart for other in chosen):
            chosen.append(index)
        if len(chosen) == kept:
            break
    return [maps[index] for index in chosen]


def refine(
    critics: Sequence[nn.Module],
    start: ColourMap,
    white: Tensor,
    colours: Whitening,
    rng: torch.Generator,
    *,
    steps: int,
) -> ColourMap:
    """Let all twelve numbers follow the critics.

    They are held near a rotation to the own images' colours, in whose white units a faint
    component weighs as much as a strong one and cannot be dropped.
    """
    whole = (colours.white @ start.matrix).clone().requires_grad_(True)
    shift = (colours.white @ (start.offset - colours.mean)).clone().requires_grad_(True)
    optimizer = torch.optim.Adam([whole, shift], lr=0.02)
    eye = torch.eye(3).to(whole)
    for _ in range(steps):
        rows = torch.randint(len(white), (SHOWN,), generator=rng)
        found = ColourMap(colours.colour @ whole, colours.mean + colours.colour @ shift)
        loss = judge(critics, found(white[rows.to(white.device)]))
        loss = loss + HELD * ((whole @ whole.T - eye).square().sum() + shift.square().sum())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ColourMap(
        (colours.colour @ whole).detach(), (colours.mean + colours.colour @ shift).detach()
    )


def distinct(maps: Sequence[ColourMap], colours: Whitening, count: int) -> list[ColourMap]:
    """The first `count` of the maps of which no two are alike, that is within about 26 degrees."""
    chosen: list[ColourMap] = []
    turns: list[Tensor] = []
    for one in maps:
        turn = colours.white @ one.matrix
        turn = turn / turn.norm() * 3**0.5
        if all(float((turn * other).sum()) < ALIKE for other in turns):
            chosen.append(one)
            turns.append(turn)
        if len(chosen) == count:
            break
    return chosen


def judge(critics: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Images [n, 3, h, w] -> the critics' mean expected log squared error; less is better."""
    return torch.stack([critic(images).mean() for critic in critics]).mean()
