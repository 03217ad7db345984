"""The regularised descent (rMLE) of L1ziang/GLASS (NeurIPS 2023) for images of 32 pixels,
cifar/cinic-10/optimize_onlyX.py with config_onlyX.yaml: Adam with AMSGrad at 0.01 from Gaussian
pixels, total variation at 0.1, squared pixels at 0.01. Its code for faces weighs the variation ten
times as much, and reads less here.

What differs: all victims descend side by side, each with its own loss.
"""

from __future__ import annotations

import torch

from bench.perf.attacks.peers.peer import Exposed, Peer
from bench.perf.attacks.peers.pixels import PixelDescent

RATE, TV, L2 = 1e-2, 0.1, 0.01
SETTINGS = {"learning_rate": RATE, "tv": TV, "l2": L2, "start": "gaussian"}


def likeliest_pixels(shown: Exposed) -> Peer:
    """From standard normal pixels."""
    shape = (len(shown.features), 3, shown.input.size, shown.input.size)
    return PixelDescent(shown, torch.randn(shape, generator=shown.rng), rate=RATE, tv=TV, l2=L2)
