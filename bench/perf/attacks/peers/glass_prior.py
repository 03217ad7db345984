"""The likelihood with a deep image prior (LM) of L1ziang/GLASS (NeurIPS 2023) for images of 32
pixels, cifar/cinic-10/optimize_onlyM.py with config_onlyM.yaml: for each victim by itself a network
makes the image out of noise, and its weights are descended on: Adam at 0.01, total variation at
0.1, squared pixels at 0.01. Its code for faces weighs the variation ten times as much, and reads
less here.

What differs: three scales of 32, 64 and 128 channels at 32 pixels as there, one more with each
doubling up to five; the noise is fixed, 32 channels of a tenth, as Ulyanov et al. have it, where
the original draws it anew in every step; bilinear interpolation in place of the nearest pixel,
convolutions of three pixels in place of seven and five, strides in place of averages: in the same
seconds these are more steps, and read as much. The victims take turns, a step each, so that each
has an equal share of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.perf.attacks.peers.peer import Exposed, Peer, normalisers, seeded
from bench.perf.attacks.peers.pixels import EPS, variation
from bench.perf.attacks.peers.skip_network import SkipNetwork

RATE, TV, L2 = 1e-2, 0.1, 0.01
NOISE_CHANNELS, NOISE = 32, 0.1
WIDTHS = (32, 64, 128, 128, 128)
"""Channels by scale; there are as many scales as leave a map of four pixels or more."""
SMALLEST_MAP = 4
SETTINGS = {"learning_rate": RATE, "tv": TV, "l2": L2, "start": "noise"}


def deep_prior(shown: Exposed) -> Peer:
    """A network a victim, in turns."""
    return PriorTurns(shown)


def widths_for(size: int) -> tuple[int, ...]:
    """Of the scales that images of this side have."""
    return WIDTHS[: max(1, (size // SMALLEST_MAP).bit_length() - 1)]


class OneVictim:
    """A network and its noise, for one feature [1, *feature_shape]."""

    def __init__(self, shown: Exposed, feature: Tensor) -> None:
        size = shown.input.size
        self._head, self._target = shown.head, feature
        self._mean, self._std = normalisers(shown.input)
        self.net: nn.Module = seeded(
            shown.rng, lambda: SkipNetwork(NOISE_CHANNELS, widths_for(size))
        )
        self._noise = NOISE * torch.rand(1, NOISE_CHANNELS, size, size, generator=shown.rng)
        self._optimizer = torch.optim.Adam(self.net.parameters(), lr=RATE, eps=EPS, amsgrad=True)

    def step(self) -> float:
        image = self.net(self._noise)
        pixels = (image - self._mean) / self._std
        loss = (self._head(image) - self._target).square().mean()
        loss = loss + TV * variation(pixels)[0] + L2 * pixels.square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss.detach())

    def answer(self) -> Tensor:
        """[1, 3, S, S]; with the statistics of its batch norms as they are in a step."""
        with torch.no_grad():
            image: Tensor = self.net(self._noise)
        return image.clamp(0, 1)


class PriorTurns:
    """All victims, each a step after the others."""

    def __init__(self, shown: Exposed) -> None:
        self.victims = [OneVictim(shown, feature) for feature in shown.features.split(1)]
        self._turn = 0

    def step(self) -> float:
        victim = self.victims[self._turn % len(self.victims)]
        self._turn += 1
        return victim.step()

    def answer(self) -> Tensor:
        return torch.cat([victim.answer() for victim in self.victims])
