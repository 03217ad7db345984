"""Choose among maps of colours by what the critics and the bodies say of them.

The critics alone can be misled, and so can the bodies by a few hundred captures; that both are is
rarer. All maps are looked at as they are proposed; only the best of them are aligned through the
bodies, which costs the most, and looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from adversary.inversion.aligned.body_agreement import PIECE, answers, answers_apart, meanings_apart
from adversary.inversion.aligned.body_alignment import Alignment, align
from adversary.inversion.aligned.colour_map import ColourMap, distinct, judge
from adversary.inversion.aligned.head import ShadowHead
from splitlab.pieces import in_pieces

SAY = 2.5
"""Weight of the critics beside the logarithms of the bodies' two distances."""
TINY = 1e-12
"""Distances at or below it are none."""


class JudgedMap(NamedTuple):
    """A map of colours and what speaks for it.

    Args:
        worth: the sum of the others, as they are weighed; less is better.
        answers: distance of the bodies' answers.
        meanings: distance of what they recognise together with the colours.
        natural: the critics' expected log squared error.
    """

    worth: float
    answers: float
    meanings: float
    natural: float
    colours: ColourMap

    def rounded(self) -> list[float]:
        """The four numbers, for a record."""
        return [round(value, 4) for value in self[:4]]


class Jury:
    """
    Args:
        scene: critics, bodies and captures.
        replies: of each body to the captures, [n, D] each.
        images, labels: own images [m, 3, S, S] in [0, 1] whose shadow features are compared.
    """

    def __init__(
        self, scene: Alignment, replies: Sequence[Tensor], images: Tensor, labels: Tensor
    ) -> None:
        self._scene, self._replies = scene, replies
        self._images, self._labels = images, labels

    @torch.no_grad()
    def __call__(self, colours: ColourMap) -> JudgedMap:
        scene = self._scene
        shadow = ShadowHead(scene.head, colours)
        seen = in_pieces(shadow, self._images, PIECE)
        if scene.noise is not None:
            seen = scene.noise.add(seen)
        own = [answers(body, seen) for body in scene.bodies]
        pictures = colours(scene.white)
        natural = float(judge(scene.critics, pictures))
        apart = answers_apart(self._replies, own)
        meant = meanings_apart(self._replies, own, pictures, self._images, self._labels)
        worth = math.log(max(apart, TINY)) + math.log(max(meant, TINY)) + SAY * natural
        return JudgedMap(worth, apart, meant, natural, colours)


def choose(
    maps: Sequence[ColourMap], jury: Jury, scene: Alignment, *, aligned: int, steps: int, seed: int
) -> list[JudgedMap]:
    """The `aligned` best of the maps, unlike each other, each after `steps` of alignment.

    Returns:
        the best one first; of maps that became alike only the better one.
    """
    first = sorted((jury(one) for one in maps), key=_worth)
    again = []
    for start in distinct([found.colours for found in first], scene.colours, aligned):
        # The same draws for each map: they differ by what they are, not by chance.
        alike = torch.Generator().manual_seed(seed)
        again.append(jury(align(start, scene, alike, steps=steps)))
    again.sort(key=_worth)
    left = distinct([found.colours for found in again], scene.colours, aligned)
    return [found for found in again if any(found.colours is one for one in left)]


def _worth(found: JudgedMap) -> float:
    return found.worth
