"""The doubts that one point raises about itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from splitlab.contracts import Kind
from splitlab.contracts.kinds import IMAGE
from splitlab.record import Leakage


def own_doubts(
    leakage: Mapping[str, Leakage],
    floor: Mapping[str, Leakage],
    *,
    scored: int,
    victims: int,
    attack_doubts: tuple[str, ...],
    repeated: int = 0,
    shared: int = 0,
    kind: Kind = IMAGE,
) -> tuple[str, ...]:
    """What is doubtful about one attack on one split point.

    Args:
        leakage, floor: metric -> interval, of the attack and of its kind's floor, on the same
            victims.
        scored: victims that the attack was run on.
        victims: victims whose images crossed the wire.
        attack_doubts: what the attack said of itself (truncated optimisation, zero gradient).
        repeated: victims whose image is another victim's too.
        shared: victims whose image is one of the adversary's own.
    """
    found = list(attack_doubts)
    metric = kind.headline
    own, base = leakage.get(metric.name), floor.get(metric.name)
    value, least = (told.mean if told else None for told in (own, base))
    if value is not None and least is not None and metric.failed(value, least):
        found.append(
            f"the attack failed: {metric.told(value)} is no better than answering with "
            f"{kind.floor_is} ({metric.told(least)}); the split point or defence earns no credit"
        )
    if scored < victims:
        found.append(f"scored on {scored} of {victims} victims")
    if own and own.groups < 5:
        found.append(f"the interval rests on {own.groups} independent groups")
    if repeated:
        found.append(
            f"{repeated} of {victims} victims' images are the same as another victim's: they share "
            "a re-identification, and the intervals take them for independent"
        )
    if shared:
        found.append(
            f"{shared} of {victims} victims' images are among the adversary's own: what it "
            "recovers of them it may have known"
        )
    return tuple(found)


def repeated(images: Tensor) -> int:
    """Images uint8 [n, 3, S, S] that are equal, pixel by pixel, to an earlier one."""
    return len(images) - len({image.numpy().tobytes() for image in images})


def shared(images: Tensor, others: Tensor | None) -> int:
    """How many of the images uint8 [n, 3, S, S] are among the others, uint8 [m, 3, S, S]."""
    if others is None or others.shape[1:] != images.shape[1:]:
        return 0
    known = {image.numpy().tobytes() for image in others}
    return sum(image.numpy().tobytes() in known for image in images)
