"""The inverse network (IN) of L1ziang/GLASS (NeurIPS 2023), celeba/model.py, `Face_Inversion`,
learned as in celeba/inverse_attack.py: transposed convolutions with batch norms, tanh, Adam at 1e-3
and the mean squared error of pixels in [-1, 1].

What differs: steps of 32 pairs in place of 128, which are more of them in the same time; the last
weights answer; and a feature of the image's own side, which the original refuses, meets a layer of
64 channels that doubles nothing.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import nn

from bench.perf.attacks.peers.learned import PeerInverse
from bench.perf.attacks.peers.peer import Exposed, Peer, seeded
from bench.perf.attacks.peers.sizes import doublings

RATE, BATCH, LEAK = 1e-3, 32, 0.2
LAST = 64
"""Channels before the last layer, twice as many before each doubling above it."""
SETTINGS = {"learning_rate": RATE, "batch_size": BATCH, "loss": "mse of pixels in [-1, 1]"}


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
    for left in range(doubled - 1, 0, -1):
        own = LAST << (left - 1)
        layers += [nn.ConvTranspose2d(wide, own, 4, 2, 1, bias=False), *_after(own)]
        wide = own
    if doubled:
        layers += [nn.ConvTranspose2d(wide, 3, 4, 2, 1)]
    else:
        layers += [nn.Conv2d(wide, LAST, 3, padding=1, bias=False), *_after(LAST)]
        layers += [nn.Conv2d(LAST, 3, 3, padding=1)]
    return nn.Sequential(*layers, nn.Tanh())


def _after(channels: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK)]
