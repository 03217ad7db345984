"""The decoder of zlijingtao/ResSFL (CVPR 2022), architectures_torch.py, `custom_AE`, learned as in
MIA_torch.py, `attack`: a convolution and a transposed one for each doubling, Adam at 1e-3.

Two contenders: the mean squared error, and SSIM, both of which its options offer.

What differs: the last weights answer and validation images are learned from, where the original
keeps those of the best validation epoch; SSIM is of whole windows and the loss 1 - SSIM, where the
original pads and maximises.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.perf.attacks.peers.learned import PeerInverse
from bench.perf.attacks.peers.peer import Exposed, Peer, seeded
from bench.perf.attacks.peers.sizes import doublings
from splitlab.metrics import ssim

RATE, BATCH = 1e-3, 32
MSE_SETTINGS = {"learning_rate": RATE, "batch_size": BATCH, "loss": "mse"}
SSIM_SETTINGS = {**MSE_SETTINGS, "loss": "1 - ssim"}


def with_mse(shown: Exposed) -> Peer:
    """Minimises the mean squared error."""
    return PeerInverse(shown, _net(shown), F.mse_loss, rate=RATE, batch=BATCH)


def with_ssim(shown: Exposed) -> Peer:
    """Minimises 1 - SSIM."""
    return PeerInverse(shown, _net(shown), dissimilarity, rate=RATE, batch=BATCH)


def dissimilarity(answer: Tensor, truth: Tensor) -> Tensor:
    """1 - SSIM, the mean over images."""
    return 1 - ssim(truth, answer).mean()


def decoder(channels: int, doubled: int) -> nn.Sequential:
    """z [B, channels, S / 2^doubled, ...] -> images [B, 3, S, S] in [0, 1].

    Args:
        channels: of the feature.
        doubled: how often the side is doubled; 0 for a feature of the image's own side.
    """
    layers: list[nn.Module] = []
    wide = channels
    for _ in range(doubled - 1):
        narrower = max(1, wide // 2)
        layers += [nn.Conv2d(wide, narrower, 3, padding=1), nn.ReLU()]
        layers += [_double(narrower, narrower), nn.ReLU()]
        wide = narrower
    layers += [nn.Conv2d(wide, wide, 3, padding=1), nn.ReLU()]
    layers += [_double(wide, 3) if doubled else nn.Conv2d(wide, 3, 3, padding=1), nn.Sigmoid()]
    return nn.Sequential(*layers)


def _double(before: int, after: int) -> nn.Module:
    return nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)


def _net(shown: Exposed) -> nn.Module:
    shape = tuple(shown.features.shape[1:])
    doubled = doublings(shape, shown.input.size)
    return seeded(shown.rng, lambda: decoder(shape[0], doubled))
