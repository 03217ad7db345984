"""The white-box descent of zlijingtao/ResSFL (CVPR 2022), MIA_torch.py, `MIA_mf`: Adam with AMSGrad
at 0.8 from a blank image, without any prior.

What differs: all victims descend side by side, each with its own loss, where the original takes one
after another; and it goes on past the original's 3,000 steps where the time allows.
"""

from __future__ import annotations

import torch

from bench.perf.attacks.peers.peer import Exposed, Peer
from bench.perf.attacks.peers.pixels import PixelDescent

RATE = 0.8
SETTINGS = {"learning_rate": RATE, "tv": 0.0, "start": "zeros"}


def matched_features(shown: Exposed) -> Peer:
    """From the mean colour, which is zero in normalised pixels."""
    start = torch.zeros(len(shown.features), 3, shown.input.size, shown.input.size)
    return PixelDescent(shown, start, rate=RATE)
