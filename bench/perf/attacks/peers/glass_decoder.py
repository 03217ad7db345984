"""The inverse network (IN) of L1ziang/GLASS (NeurIPS 2023) for images of 32 pixels,
cifar/cinic-10/model.py, `CIFAR10_Inversion`, learned as in its inverse_attack.py: a transposed
convolution with batch norm for each doubling, a last layer that doubles nothing, tanh, Adam at
1e-3, mean squared error.

What differs: pixels in [-1, 1], which tanh reaches, where the original compares it with normalised
ones; steps of 32 pairs in place of 1,024, which are more of them in the same time; the last weights
answer; and a feature of the image's own side, which the original gives its last layer alone, meets
one of 64 channels before it.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from bench.perf.attacks.peers.learned import PeerInverse
from bench.perf.attacks.peers.peer import Exposed, Peer, seeded
from bench.perf.attacks.peers.sizes import doublings

RATE, BATCH, LEAK = 1e-3, 32, 0.3
LAST = 64
"""Channels before the last layer, twice as many before each doubling above it."""
SETTINGS = {
    "network": "CIFAR10_Inversion",
    "learning_rate": RATE,
    "batch_size": BATCH,
    "loss": "mse of pixels in [-1, 1]",
}


def inverse_network(shown: Exposed) -> Peer:
    """z -> images, from pairs."""
    shape = tuple(shown.features.shape[1:])
    doubled = doublings(shape, shown.input.size)
    return PeerInverse(
        shown,
        seeded(shown.rng, lambda: generator_of(shape[0], doubled)),
        F.mse_loss,
        rate=RATE,
        batch=BATCH,
        to=lambda pixels: 2 * pixels - 1,
        back=lambda given: (given + 1) / 2,
    )


def generator_of(channels: int, doubled: int) -> nn.Sequential:
    """z [B, channels, S / 2^doubled, ...] -> images [B, 3, S, S] in [-1, 1]."""
    layers: list[nn.Module] = []
    wide = channels
    for left in range(doubled - 1, -1, -1):
        own = LAST << left
        layers += [nn.ConvTranspose2d(wide, own, 4, 2, 1, bias=False), *_after(own)]
        wide = own
    if not doubled:
        layers += [nn.Conv2d(channels, LAST, 3, padding=1, bias=False), *_after(LAST)]
    return nn.Sequential(*layers, nn.ConvTranspose2d(LAST, 3, 3, 1, 1), nn.Tanh())


def _after(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK)]
