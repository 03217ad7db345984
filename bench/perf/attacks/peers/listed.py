"""The peers by name, with where each was read and the settings it runs with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.perf.attacks.peers import (
    glass_decoder,
    glass_pixels,
    glass_prior,
    ressfl_decoder,
    ressfl_pixels,
)
from bench.perf.attacks.peers.peer import MakePeer

_RESSFL, _GLASS = "zlijingtao/ResSFL", "L1ziang/GLASS"


@dataclass(frozen=True)
class PublishedLoop:
    """A peer.

    Args:
        make: begins it.
        source: where it was read.
        settings: for the record.
        head: whether it descends through the head; else it learns from queries alone.
    """

    make: MakePeer
    source: str
    settings: Mapping[str, Any]
    head: bool = False


PEERS: dict[str, PublishedLoop] = {
    "ResSFL decoder": PublishedLoop(
        ressfl_decoder.with_mse,
        f"{_RESSFL}, architectures_torch.py, custom_AE",
        ressfl_decoder.MSE_SETTINGS,
    ),
    "ResSFL decoder SSIM": PublishedLoop(
        ressfl_decoder.with_ssim,
        f"{_RESSFL}, architectures_torch.py, custom_AE; MIA_torch.py, attack",
        ressfl_decoder.SSIM_SETTINGS,
    ),
    "GLASS IN": PublishedLoop(
        glass_decoder.inverse_network,
        f"{_GLASS}, cifar/cinic-10/model.py, CIFAR10_Inversion",
        glass_decoder.SETTINGS,
    ),
    "ResSFL MF": PublishedLoop(
        ressfl_pixels.matched_features,
        f"{_RESSFL}, MIA_torch.py, MIA_mf",
        ressfl_pixels.SETTINGS,
        head=True,
    ),
    "GLASS rMLE": PublishedLoop(
        glass_pixels.likeliest_pixels,
        f"{_GLASS}, cifar/cinic-10/optimize_onlyX.py",
        glass_pixels.SETTINGS,
        head=True,
    ),
    "GLASS LM": PublishedLoop(
        glass_prior.deep_prior,
        f"{_GLASS}, cifar/cinic-10/optimize_onlyM.py",
        glass_prior.SETTINGS,
        head=True,
    ),
}
