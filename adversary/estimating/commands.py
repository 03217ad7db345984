"""What `adversary attack` and `adversary synthesise` will take, before they start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from adversary.contract.attack import Attack
from adversary.contract.threat import Observed, ThreatModel
from adversary.estimating.rehearsed import LIMIT, answered, attack_seconds
from adversary.parts.pairs import KEPT_BYTES
from adversary.synthesis.folder import content_of, make_batch
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known
from splitlab.contracts import Features, InputSpec
from splitlab.data import ImageSet
from splitlab.estimating import Clock, Forecast, Meter, memory_now
from splitlab.training import OutOfTime, Progress


def with_fewer(threat: ThreatModel, count: int) -> ThreatModel:
    """The same knowledge with `count` images and queries, some again where there are fewer."""
    own, asked, capture = threat.aux, threat.observe, threat.capture
    if own is not None:
        own = replace(own, images=few(own.images, count))
    if asked is not None:
        rows = [row % len(asked.images) for row in range(count)]
        asked = Observed(few(asked.images, count), asked.features[rows])
    if capture is not None:
        capture = capture[: max(count, 1)]
    return replace(threat, aux=own, observe=asked, capture=capture)


def few(images: ImageSet, count: int) -> ImageSet:
    """`count` of the images, some of them again where there are fewer."""
    return images.subset([row % len(images) for row in range(count)])


def attack_estimate(
    attack: Attack, threat: ThreatModel, observation: Features, device: str
) -> Forecast:
    """Of `run_attack` with this knowledge; what an earlier run has learned is not looked for."""
    size = (threat.input or InputSpec()).size
    own = threat.aux.images if threat.aux is not None else None
    asked = threat.observe.images if threat.observe is not None else None
    pairs = max([1, *(len(images) for images in (own, asked) if images is not None)])
    few = answered(size)
    seen = Features(
        observation.ids[:few],
        observation.features[:few],
        tuple(replies[:few] for replies in observation.outputs),
    )
    victims = len(observation.ids)
    taken = attack_seconds(
        attack,
        lambda count: with_fewer(threat, count),
        (seen,),
        size=size,
        pairs=pairs,
        victims=victims,
        meter=Clock(),
        device=device,
    )
    feature = 4 * observation.features[0].numel()
    memory = memory_now() + min(KEPT_BYTES, feature * pairs) + 15 * (pairs + victims) * size**2
    name = f"attack {attack.name}"
    missing = [name] if taken is None else []
    return Forecast.of_stages(victims, {name: taken or 0.0}, memory, missing, "reconstructions")


def synthesis_estimate(
    out: Path,
    known: Known,
    settings: SynthesisSettings,
    *,
    count: int,
    seed: int,
    device: torch.device,
) -> Forecast:
    """Of the batches that `out` lacks.

    Raises:
        BadInput, Corrupt: as `make_images`.
    """
    content = content_of(out, known, settings, seed)
    numbers = range(-(-count // settings.batch_size))
    left = sum(str(number) not in content["batches"] for number in numbers)
    seconds: float | None = 0.0
    if left:
        seconds = batch_seconds(known, settings, seed=seed, device=device, meter=Clock())
    pixels = 3 * settings.batch_size * known.input.size**2
    return Forecast.of_stages(
        left * settings.batch_size,
        {"making images": left * (seconds or 0.0)},
        memory_now() + 4 * 8 * pixels,
        ["making images"] if seconds is None else [],
        "images",
    )


def batch_seconds(
    known: Known,
    settings: SynthesisSettings,
    *,
    seed: int,
    device: torch.device,
    meter: Meter,
) -> float | None:
    """Of making one batch; None where it takes too long to tell.

    Its two stages, at half and at the full size, are each rehearsed.
    """
    alone = [settings.model_copy(update={"half_steps": 0})]
    if settings.half_steps:
        alone.append(settings.model_copy(update={"steps": 1}))
    seconds = 0.0
    for stage in alone:
        units = stage.batch_size * (stage.half_steps + stage.steps)

        def work(watch: Progress, stage: SynthesisSettings = stage, units: int = units) -> None:
            made = watch.task("synthesis", units)
            make_batch(known, stage, seed=seed, number=0, device=device, work=made)

        try:
            seconds += meter.rehearsed(work, LIMIT).seconds
        except OutOfTime:
            return None
    return seconds
