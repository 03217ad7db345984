"""What is believed to be added to features that nobody can know: the noise of `drag`'s descent."""

from __future__ import annotations

import torch
from torch import nn

from adversary.contract.believed import Spoil, believed, loses_elements
from adversary.contract.threat import ThreatModel
from adversary.inversion.rmle.matching import rows_at_once
from adversary.parts.budget import FULL_SIZE
from splitlab.pieces import in_pieces

LEAST_NOISE, LISTENED = 1e-3, 64
"""Variance of a feature's noise at least, as a share of the features'; own images it is told by."""


@torch.no_grad()
def noise_of(threat: ThreatModel, head: nn.Module, sure: Spoil, draw: torch.Generator) -> float:
    """What defence and wire, as far as they are known, add to features that is not certain.

    Args:
        head: on the device of the work.
        sure: what is certain of it (`adversary.contract.believed.certain`).

    Returns:
        variance as a share of the features', `LEAST_NOISE` at least, and just that where there are
        no own images.
    """
    if threat.aux is None or not len(threat.aux.images):
        return LEAST_NOISE
    place = next(head.parameters(), torch.empty(0)).device
    clean = in_pieces(head, threat.aux.images.take(LISTENED).floats(place), rows_at_once(FULL_SIZE))
    seen = believed(threat, tuple(clean.shape[1:]))(clean, draw)
    counts = (seen != 0).to(seen) if loses_elements(threat) else torch.ones_like(seen)
    error = ((seen - sure(clean, draw)).square() * counts).sum() / counts.sum().clamp_min(1)
    return max(LEAST_NOISE, float(error / seen.var(correction=0).clamp_min(1e-12)))
