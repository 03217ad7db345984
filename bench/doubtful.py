"""The doubts that one point raises about itself."""

from __future__ import annotations

from collections.abc import Mapping

from splitlab.record import Interval

FLOOR_MARGIN_DB = 0.5


def own_doubts(
    leakage: Mapping[str, Interval],
    floor: Mapping[str, Interval],
    *,
    scored: int,
    victims: int,
    attack_doubts: tuple[str, ...],
) -> tuple[str, ...]:
    """What is doubtful about one attack on one split point.

    Args:
        leakage, floor: metric -> interval, of the attack and of answering with the mean image, on
            the same victims.
        scored: victims that the attack was run on.
        victims: victims whose images crossed the wire.
        attack_doubts: what the attack said of itself (truncated optimisation, zero gradient).
    """
    found = list(attack_doubts)
    psnr, base = leakage.get("psnr"), floor.get("psnr")
    if psnr and base and psnr.mean is not None and base.mean is not None:
        gain = psnr.mean - base.mean
        if gain <= FLOOR_MARGIN_DB:
            found.append(
                f"the attack failed: {psnr.mean:.1f} dB is no better than answering with the mean "
                f"auxiliary image ({base.mean:.1f} dB); the split point or defence earns no credit"
            )
    if scored < victims:
        found.append(f"scored on {scored} of {victims} victims")
    if psnr and psnr.groups < 5:
        found.append(f"the interval rests on {psnr.groups} independent groups")
    return tuple(found)
