"""The regularised descent (rMLE) of L1ziang/GLASS (NeurIPS 2023), celeba/optimize_onlyX.py with
celeba/config_onlyX.yaml: Adam with AMSGrad at 0.01 from Gaussian pixels, total variation at 1, the
weight of the squared pixels left out as it is there.

What differs: all victims descend side by side, each with its own loss; pixels are normalised by the
attacked network's mean and deviation, where the original's network takes 0.5 for all.
"""

from __future__ import annotations

import torch

from bench.perf.attacks.peers.peer import Exposed, Peer
from bench.perf.attacks.peers.pixels import PixelDescent

RATE, TV = 1e-2, 1.0
SETTINGS = {"learning_rate": RATE, "tv": TV, "start": "gaussian"}


def likeliest_pixels(shown: Exposed) -> Peer:
    """From standard normal pixels."""
    shape = (len(shown.features), 3, shown.input.size, shown.input.size)
    return PixelDescent(shown, torch.randn(shape, generator=shown.rng), rate=RATE, tv=TV)
