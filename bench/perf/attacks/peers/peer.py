"""What a peer is: a loop that can be stopped after any step and asked for its images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from splitlab.contracts import InputSpec


@dataclass(frozen=True, eq=False)
class Exposed:
    """What a peer is shown, which is what an attack of ours is granted.

    Args:
        features: z [n, *feature_shape] of the victims.
        head: images [B, 3, S, S] in [0, 1] -> z, in eval mode, without gradients of its own.
        pairs: the adversary's own images [N, 3, S, S] in [0, 1]; those that ours is granted to
            choose settings by are among them.
        answers: their features [N, *feature_shape].
        input: size of the images, and what they are normalised by.
        rng: CPU generator of all that is drawn.
    """

    features: Tensor
    head: nn.Module
    pairs: Tensor
    answers: Tensor
    input: InputSpec
    rng: torch.Generator


class Peer(Protocol):
    """A loop over steps."""

    def step(self) -> float:
        """One step; its loss before it."""
        ...

    def answer(self) -> Tensor:
        """What it would end with now: [n, 3, S, S] in [0, 1]."""
        ...


MakePeer = Callable[[Exposed], Peer]


def normalisers(given: InputSpec) -> tuple[Tensor, Tensor]:
    """(mean, deviation) of the pixels, float [3, 1, 1] each."""
    mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (given.mean, given.std))
    return mean, std


def seeded(rng: torch.Generator, build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose first weights are drawn from `rng`; the process's own stream stays."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        return build()
