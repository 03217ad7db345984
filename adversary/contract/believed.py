"""What the adversary believes to happen between the head and the wire: defence, then codec."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from adversary.contract.threat import ThreatModel
from defenses import parse, protect
from splitlab.contracts import Defense
from splitlab.randomness import FreeDraw, Secret
from splitlab.wire.codec import roundtrip

Spoil = Callable[[Tensor, torch.Generator], Tensor]


def believed(threat: ThreatModel, feature_shape: tuple[int, ...]) -> Spoil:
    """A function (z [B, *feature_shape], rng) -> z^ as the adversary can imitate it.

    Knowing the very protectors, it applies them. Knowing only the defence, it draws anew for every
    row, also where the client draws once: to whom that draw is unknown any draw may be it. Of
    learned noise it draws what the learning begins with; where that led is not known. Knowing
    neither (unaware), it passes z on. The codec is on the wire for all to see.
    """
    protectors = _protectors(threat, feature_shape)
    wire = threat.wire or "FP32"

    def spoil(feature: Tensor, rng: torch.Generator) -> Tensor:
        spoilt = protect(protectors.to(feature.device), feature, FreeDraw(rng))
        return spoilt if wire == "FP32" else roundtrip(spoilt, wire).to(feature.device)

    return spoil


def certain(threat: ThreatModel) -> Spoil:
    """The part of it that is known without a draw: the granted protectors that are not stochastic.

    What a white-box attack puts between the head and the loss; noise of mean zero it leaves to the
    squared error.
    """
    if threat.protectors is None or threat.defense is None:
        return lambda feature, _rng: feature
    pairs = zip(threat.protectors, _on_features(threat.defense), strict=True)
    known = nn.ModuleList([protector for protector, d in pairs if not d.stochastic])
    return lambda feature, rng: protect(known.to(feature.device), feature, FreeDraw(rng))


def loses_elements(threat: ThreatModel) -> bool:
    """Whether a zero in z^ may be an element that the defence dropped, for all that is known.

    Only where dropout acts last on them: noise on top of it would hide the zeros.
    """
    if threat.defense is None or threat.protectors is not None:
        return False
    acting = _on_features(threat.defense)
    return bool(acting) and acting[-1].name == "dropout"


def _on_features(defense: str) -> list[Defense]:
    """Those of the stack that have a protector, in order; others act elsewhere or in training."""
    return [one for one, _ in parse(defense).placed((1,), Secret(bytes(32)))]


def _protectors(threat: ThreatModel, feature_shape: tuple[int, ...]) -> nn.ModuleList:
    if threat.protectors is not None:
        return threat.protectors
    if threat.defense is None:
        return nn.ModuleList()
    # Fresh draws take nothing from the secret, so any will do.
    return parse(threat.defense).as_fresh().protectors(feature_shape, Secret(bytes(32)))
