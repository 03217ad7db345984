"""What one split point takes: cutting there, both sides of the wire, and every attack on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.estimating.commands import few
from adversary.estimating.rehearsed import LIMIT, answered, attack_seconds
from adversary.parts.budget import FULL_SIZE
from adversary.synthesis.folder import MadeImages
from bench.estimate.halves import Sample, sample
from bench.estimate.processes import role_threads, threads
from bench.point.grants import GrantRequest, query, threat_of
from bench.point.recipe import Networked
from defenses import Stack
from splitlab.contracts import ArchSpec, Features, Gradients, Scores, Seen, Targets
from splitlab.data import ImageSet, Splits
from splitlab.estimating import Meter
from splitlab.wire.codec import decode, encode

ROWS = 8
"""Images that go through a network to be timed, up to `FULL_SIZE`; else 2."""


def timed_rows(size: int) -> int:
    return ROWS if size <= FULL_SIZE else 2


def image_seconds(net: nn.Module, images: ImageSet, meter: Meter) -> float:
    """Of one image through the whole network, with all threads."""
    rows = timed_rows(images.size)
    shown = few(images, rows).floats("cpu")
    with torch.inference_mode():
        return meter.seconds(lambda: net(shown)) / rows


@dataclass(frozen=True)
class WantedPoint:
    """One attack on a split point, with its grant, on how many victims, rehearsed for how long.

    Args:
        lent: whether other rows of the run make the fits that it starts from.
    """

    attack: Attack
    grant: GrantRequest
    victims: int
    limit: float = LIMIT
    lent: bool = False


@dataclass(frozen=True)
class Costs:
    """Seconds at one split point.

    Args:
        cut: of cutting the network there.
        head, rest: of an image in a role's process, before and behind the wire.
        wire: of encoding and decoding one feature.
        attacks: of each that was asked for; None where it cannot be told.
    """

    cut: float
    head: float
    rest: float
    wire: float
    attacks: tuple[float | None, ...]

    @property
    def image(self) -> float:
        """Of one image of many that client and server work on at the same time."""
        return max(self.head, self.rest) + self.wire

    @property
    def serial(self) -> float:
        """Of an image that is sent when the one before it was answered."""
        return self.head + self.rest + self.wire


def measured(
    net: nn.Module,
    arch: ArchSpec,
    stack: Stack,
    config: Networked,
    head_end: str,
    splits: Splits,
    wanted: Sequence[WantedPoint],
    meter: Meter,
    device: str,
) -> Costs:
    """At the split point `head_end`, on `config.wire`, with images of `splits`."""
    made: list[Sample] = []
    cutting = meter.rehearsed(
        lambda _: made.append(sample(net, arch, stack, config, head_end))
    ).seconds
    half = made[0].client
    rows = timed_rows(config.size)
    images = few(splits.victims, rows).floats("cpu")
    with torch.inference_mode():
        feature = half.head(images).clone()
        with threads(role_threads()):
            head = meter.seconds(lambda: half.head(images)) / rows
            rest = meter.seconds(lambda: _behind(made[0], feature)) / rows
        wire = meter.seconds(lambda: decode(encode(feature, half.wire))) / rows
    shown = few(splits.victims, answered(config.size))
    seen = query(half, shown)
    taken = tuple(
        _attack(one, made[0], seen, shown.labels, splits, config, meter, device) for one in wanted
    )
    return Costs(cutting, head, rest, wire, taken)


def _behind(made: Sample, feature: torch.Tensor) -> torch.Tensor:
    outputs = [body(feature) for body in made.bodies]
    return made.client.tail(made.client.selector(outputs))


def _seen(
    attack: Attack, made: Sample, feature: torch.Tensor, labels: torch.Tensor
) -> tuple[Seen, ...]:
    """What an attack sees, of a few images.

    Raises:
        KeyError: a gradient, whose making takes more than an answer.
    """
    ids = tuple(map(str, range(len(feature))))
    outputs = tuple(body(feature) for body in made.bodies)
    logits = made.client.tail(made.client.selector(list(outputs)))
    shown: dict[type[Seen], Callable[[], Seen]] = {
        Features: lambda: Features(ids, feature, outputs),
        Scores: lambda: Scores.of(ids, logits, attack.answers, labels),
        Targets: lambda: Targets(ids, labels),
    }
    return tuple(shown[one]() for one in attack.sees)


def _attack(
    one: WantedPoint,
    made: Sample,
    seen: torch.Tensor,
    labels: torch.Tensor,
    splits: Splits,
    config: Networked,
    meter: Meter,
    device: str,
) -> float | None:
    if Gradients in one.attack.sees:
        return None
    grant = one.grant
    pairs = max(grant.auxiliary, grant.observe)

    def threats(count: int) -> ThreatModel:
        asked = {
            "auxiliary": count if grant.auxiliary else 0,
            "observe": count if grant.observe else 0,
            "validation": min(grant.validation, len(splits.validation)),
        }
        enough = _at_least(splits, count)
        request = GrantRequest(**{**vars(grant), **asked})
        capture = seen if grant.capture else None
        own = None
        if grant.synthetic:  # real ones stand for them
            own = MadeImages(few(splits.auxiliary, count + request.validation), {})
        return threat_of(made.client, made.bodies, request, enough, config.seed, "", capture, own)

    return attack_seconds(
        one.attack,
        threats,
        _seen(one.attack, made, seen, labels),
        size=config.size,
        pairs=max(1, pairs),
        victims=one.victims,
        meter=meter,
        device=device,
        limit=one.limit,
        lent=one.lent,
    )


def _at_least(splits: Splits, count: int) -> Splits:
    """With so many auxiliary images, whatever there are."""
    if len(splits.auxiliary) >= count:
        return splits
    return replace(splits, auxiliary=few(splits.auxiliary, count))
