"""Settings of an attack, tried on validation images of an experiment's network; no victim is read.

What is found is a suggestion for the experiment's own settings, which stand in its file; victims
are scored with those alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from rich.markup import escape
from rich.table import Table
from torch import Tensor

import defenses
from adversary.attack import Attack, Observation, run_attack
from adversary.floor import mean_image
from adversary.synthesis_settings import SynthesisSettings
from bench.grants import make_threat, query
from bench.point import make_attack
from bench.reproduce.experiment import Experiment, Measurement, Skipped
from bench.reproduce.request import Request
from bench.reproduce.run import begin
from bench.reproduce.seed_run import SeedRun
from splitlab.data import ImageSet
from splitlab.deployment import ClientHalf
from splitlab.errors import BadInput, Unavailable, UnknownName
from splitlab.image_quality import evaluate
from splitlab.machine import environment
from splitlab.randomness import generator
from splitlab.storage import canonical_json, read_json, sha256, write_json

Settings = Mapping[str, Any]
METRICS = ("psnr", "ssim", "mse")
SYNTHESIS = "synthesis."


@dataclass(frozen=True)
class Trial:
    """One setting on one seed's validation images: means, what it cost, and its own doubts."""

    settings: Settings
    seed: int
    psnr: float
    ssim: float
    mse: float
    floor_psnr: float
    seconds: float
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Searched:
    """All trials of a search.

    Args:
        tried: each setting of the grid with its trials, the best mean PSNR first.
        path: of the record.
    """

    tried: tuple[tuple[Settings, tuple[Trial, ...]], ...]
    path: Path


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """{"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}]."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def search(
    experiment: Experiment,
    key: str,
    grid: Mapping[str, Sequence[Any]],
    request: Request,
    images: int,
) -> Searched:
    """Try every combination of `grid` on each of the request's seeds; what was tried is kept.

    Networks and synthetic images are those of `bench reproduce` in the same folder.

    Args:
        key: of the measurement whose attack is tried, with what that is granted.
        grid: hyper-parameter -> values; "synthesis.NAME" is one of the making of its images.
        images: of the validation partition, to be scored; the others may be granted.

    Raises:
        UnknownName: no such measurement.
        BadInput: a setting that the attack has not, or fewer validation images.
        SplitLabError: an attack failed; what is finished is kept.
    """
    known = {m.key: m for m in experiment.measurements}
    if key not in known:
        raise UnknownName(f"measurement of {experiment.name}", key, known)
    variants = [_variant(known[key], own) for own in combinations(grid)]
    begun = begin(experiment, request)
    path = request.out / "search" / f"{key.replace('/', '-')}.json"
    kept = read_json(path) if path.exists() else {}
    work = request.progress.task(f"search {key}", len(variants) * len(request.seeds))
    found: list[list[Trial]] = [[] for _ in variants]
    for seed in request.seeds:
        run = begun.run(seed)
        if isinstance(run, Skipped):
            raise BadInput(f"{experiment.name}: {run.why}")
        points = [_point(run, variant, images) for variant in variants]
        todo = [number for number, point in enumerate(points) if point not in kept]
        work.advance(len(variants) - len(todo))
        for number, trial in zip(
            todo, _trials(run, [variants[number] for number in todo], images), strict=True
        ):
            kept[points[number]] = {"trial": asdict(trial), "environment": environment()}
            write_json(path, kept)
            work.advance(1)
        for number, point in enumerate(points):
            found[number].append(Trial(**kept[point]["trial"]))
    work.close()
    tried = [(v.settings, tuple(trials)) for v, trials in zip(variants, found, strict=True)]
    tried.sort(key=lambda pair: -mean(trial.psnr for trial in pair[1]))
    return Searched(tuple(tried), path)


def table(found: Searched) -> Table:
    """For a terminal: means over seeds, the best first."""
    drawn = Table(header_style="bold", pad_edge=False)
    for name in found.tried[0][0]:
        drawn.add_column(escape(name))
    for name in ("PSNR [dB]", "by seed", "SSIM", "floor [dB]", "seconds", "doubts"):
        drawn.add_column(name, justify="left" if name == "doubts" else "right")
    for settings, trials in found.tried:
        drawn.add_row(
            *(escape(str(value)) for value in settings.values()),
            f"{mean(trial.psnr for trial in trials):.2f}",
            ", ".join(f"{trial.psnr:.2f}" for trial in trials),
            f"{mean(trial.ssim for trial in trials):.3f}",
            f"{mean(trial.floor_psnr for trial in trials):.2f}",
            f"{mean(trial.seconds for trial in trials):.1f}",
            escape("; ".join(dict.fromkeys(doubt for trial in trials for doubt in trial.doubts))),
        )
    return drawn


class _Variant(NamedTuple):
    """One setting, the measurement that it makes, and its attack."""

    settings: Settings
    measurement: Measurement
    attack: Attack


def _variant(measurement: Measurement, settings: Settings) -> _Variant:
    """
    Raises:
        BadInput: a setting that the attack or the synthesis has not, or synthesis where the
            adversary has real images.
    """
    own = {k: v for k, v in settings.items() if not k.startswith(SYNTHESIS)}
    making = {k.removeprefix(SYNTHESIS): v for k, v in settings.items() if k.startswith(SYNTHESIS)}
    if making:
        if (made := measurement.synthetic) is None:
            raise BadInput(f"{measurement.key} has real images; leave out {', '.join(settings)}")
        making = {**made.settings, **making}
        SynthesisSettings.configured(making)
        measurement = replace(measurement, synthetic=replace(made, settings=making))
    measurement = replace(measurement, options={**measurement.options, **own})
    return _Variant(settings, measurement, make_attack(measurement.attack, measurement.options))


def _point(run: SeedRun, variant: _Variant, images: int) -> str:
    """Hash of everything that a trial depends on."""
    config, _ = run.point(variant.measurement)
    return sha256(canonical_json({**config, "searched_on": images, "data": run.splits.hash}))


def _trials(run: SeedRun, todo: Sequence[_Variant], images: int) -> Iterator[Trial]:
    """Each setting on the same images, with the same stream of randomness."""
    if not todo:
        return
    assert run.setup.validation is not None
    scored, granted = _parted(run.splits.validation, images, run.setup.validation, run.seed)
    deployment = run.deployed(todo[0].measurement.place) / "deployment"
    client = ClientHalf.load(deployment / "client", defenses.parse)
    seen = Observation(tuple(f"validation/{n}" for n in range(images)), query(client, scored))
    truth = scored.floats("cpu")
    floor = _means(truth, mean_image(run.splits.auxiliary).expand_as(truth).contiguous())
    for settings, measurement, attack in todo:
        grant = measurement.grant(run.setup.model_copy(update={"validation": len(granted)}))
        threat = make_threat(
            deployment,
            grant,
            replace(run.splits, validation=granted),
            run.seed,
            measurement.knowledge,
            seen.features if grant.capture else None,
            run.made(measurement),
        )
        try:
            outcome = run_attack(
                attack,
                threat,
                seen,
                generator(run.seed, "attack", attack.name),
                device=run.request.device,
                progress=run.request.progress,
            )
        except Unavailable as error:
            raise BadInput(f"{measurement.key}: {error}") from error
        yield Trial(
            settings=dict(settings),
            seed=run.seed,
            **_means(truth, outcome.estimate.images.cpu()),
            floor_psnr=floor["psnr"],
            seconds=outcome.effort["fit_seconds"] + outcome.effort["reconstruct_seconds"],
            doubts=tuple(outcome.estimate.doubts),
        )


def _parted(images: ImageSet, count: int, granted: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """(those that are scored, those that the adversary may choose its own settings by: of the
    others as many as it is granted, or all).

    Raises:
        BadInput: fewer than one would be left.
    """
    if not 0 < count < len(images):
        raise BadInput(
            f"--images {count}: there are {len(images)} validation images, of which the attack is "
            f"granted at least one; give 1 to {len(images) - 1}"
        )
    order = torch.randperm(len(images), generator=generator(seed, "searched"))
    return images.subset(order[:count]), images.subset(order[count : count + granted])


def _means(truth: Tensor, estimate: Tensor) -> dict[str, float]:
    found = {}
    for name, column in evaluate(METRICS, truth, estimate).items():
        assert column.values is not None, column.why
        found[name] = float(column.values.mean())
    return found
