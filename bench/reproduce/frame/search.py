"""Settings of an attack, tried on validation images of an experiment's network; no victim is read.

What is found is a suggestion for the experiment's own settings, which stand in its file; victims
are scored with those alone.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import defenses
from adversary.contract.attack import Attack, run_attack
from adversary.inversion.mean_image import mean_image
from adversary.synthesis.settings import SynthesisSettings
from bench.point.grants import make_threat, query
from bench.point.identity.config import PointConfig
from bench.point.identity.known import of_config
from bench.point.measure import make_attack
from bench.point.sights.wire import OverTheWire
from bench.reproduce.frame.experiment import Experiment, Measurement, Skipped
from bench.reproduce.frame.request import ExperimentRequest
from bench.reproduce.frame.run import begin
from bench.reproduce.frame.seed_run import SeedRun
from bench.reproduce.frame.sights import sight_of_all
from bench.reproduce.frame.trials import Searched, Settings, Trial, Tried
from splitlab.contracts import Features
from splitlab.data import ImageSet
from splitlab.deployment import ClientHalf
from splitlab.errors import BadInput, SplitLabError, UnknownName
from splitlab.machine import environment
from splitlab.metrics import evaluate
from splitlab.randomness import generator
from splitlab.record import point_hash
from splitlab.storage import lock, read_json, write_json

METRICS = ("psnr", "ssim", "mse")
SYNTHESIS = "synthesis."


def combinations(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """{"a": [1, 2], "b": [3]} -> [{"a": 1, "b": 3}, {"a": 2, "b": 3}]."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def search(
    experiment: Experiment,
    key: str,
    grid: Mapping[str, Sequence[Any]],
    request: ExperimentRequest,
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
    """
    variants = _variants(experiment, key, grid)
    begun = begin(experiment, request)
    path = request.out / "search" / f"{key.replace('/', '-')}.json"
    work = request.progress.task(f"search {key}", len(variants) * len(request.seeds))
    found: list[list[Trial]] = [[] for _ in variants]
    for seed in request.seeds:
        run = begun.run(seed)
        if isinstance(run, Skipped):
            raise BadInput(f"{experiment.name}: {run.why}")
        kept = _read(path)
        scene: _Scene | None = None
        for variant, trials in zip(variants, found, strict=True):
            config = run.point(variant.measurement)
            point = _tried_before(kept, config, images, run.splits.hash)
            if point not in kept:
                scene = scene or _Scene.of(run, variant.measurement, images)
                trial = scene.tried(variant, path.parent / "fits" / point[:16])
                entry = {"trial": asdict(trial), "config": _told(config, images)}
                kept = _keep(path, point, entry)
            trials.append(Trial(**kept[point]["trial"]))
            work.advance(1)
    work.close()
    tried = [Tried(v.settings, tuple(trials)) for v, trials in zip(variants, found, strict=True)]
    best = sorted(tried, key=lambda one: -(one.mean("psnr") or 0.0))
    return Searched(tuple(best), path)


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _told(config: PointConfig, images: int) -> dict[str, Any]:
    return {**config.as_dict(), "searched_on": images}


def _tried_before(kept: Mapping[str, Any], config: PointConfig, images: int, data_hash: str) -> str:
    """The key of just this trial, of whichever version; else the one that it will have.

    A key is a hash of the trial's config with its data.
    """
    for key, entry in kept.items():
        told = dict(entry["config"])
        if point_hash(told, data_hash) == key and told.pop("searched_on", None) == images:
            before = of_config(told)
            if before is not None and before.depends() == config.depends():
                return key
    return point_hash(_told(config, images), data_hash)


def _keep(path: Path, point: str, entry: dict[str, Any]) -> dict[str, Any]:
    """Write one more entry beside those that are there; returns them all."""
    with lock(path):
        kept = {**_read(path), point: {**entry, "environment": environment()}}
        write_json(path, kept)
    return kept


class _Variant(NamedTuple):
    """One setting, the measurement that it makes, and its attack."""

    settings: Settings
    measurement: Measurement
    attack: Attack


def variants_of(
    experiment: Experiment, key: str, grid: Mapping[str, Sequence[Any]]
) -> list[Measurement]:
    """The measurement `key` with each combination of settings.

    Raises:
        UnknownName, BadInput: as `search`.
    """
    return [one.measurement for one in _variants(experiment, key, grid)]


def _variants(
    experiment: Experiment, key: str, grid: Mapping[str, Sequence[Any]]
) -> list[_Variant]:
    if not issubclass(sight_of_all(experiment), OverTheWire):
        raise BadInput(
            f"{experiment.name} has no settings that can be searched; name another experiment"
        )
    known = {m.key: m for m in experiment.measurements}
    if key not in known:
        raise UnknownName(f"measurement of {experiment.name}", key, known)
    return [_variant(known[key], own) for own in combinations(grid)]


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
            fields = ", ".join(SYNTHESIS + name for name in making)
            raise BadInput(f"{measurement.key} has real images; leave out {fields}")
        making = {**made.settings, **making}
        SynthesisSettings.configured(making)
        measurement = replace(measurement, synthetic=replace(made, settings=making))
    measurement = replace(measurement, options={**measurement.options, **own})
    return _Variant(settings, measurement, make_attack(measurement.attack, measurement.options))


@dataclass(frozen=True)
class _Scene:
    """What all trials of one seed share: the same images, and the same stream of randomness.

    Args:
        granted: validation images that the adversary may choose its own settings by.
        truth: of those that are scored; `seen` are their features.
    """

    run: SeedRun
    deployment: Path
    granted: ImageSet
    truth: Tensor
    seen: Features
    floor_psnr: float

    @classmethod
    def of(cls, run: SeedRun, measurement: Measurement, images: int) -> _Scene:
        """
        Raises:
            BadInput: fewer validation images.
        """
        assert run.setup.validation is not None
        scored, granted = _parted(run.splits.validation, images, run.setup.validation, run.seed)
        deployment = run.lab.deployed(run.point(measurement)) / "deployment"
        client = ClientHalf.load(deployment / "client", defenses.parse_file)
        ids = tuple(f"validation/{number}" for number in range(images))
        truth = scored.floats("cpu")
        constant = mean_image(run.splits.auxiliary).expand_as(truth).contiguous()
        floor = _means(truth, constant)["psnr"]
        seen = Features(ids, query(client, scored))
        return cls(run, deployment, granted, truth, seen, floor)

    def tried(self, variant: _Variant, folder: Path) -> Trial:
        """Run the attack; what it would lose by a kill it keeps in `folder` meanwhile."""
        run, measurement, attack = self.run, variant.measurement, variant.attack
        setup = run.setup.model_copy(update={"validation": len(self.granted)})
        grant = measurement.grant(setup)
        told = Trial(dict(variant.settings), run.seed, self.floor_psnr)
        try:
            threat = make_threat(
                self.deployment,
                grant,
                replace(run.splits, validation=self.granted),
                run.seed,
                measurement.knowledge,
                self.seen.features if grant.capture else None,
                run.lab.made(run.point(measurement)),
            )
            outcome = run_attack(
                attack,
                threat,
                self.seen,
                generator(run.seed, "attack", attack.name),
                device=run.request.device,
                progress=run.request.progress,
                checkpoint=folder / "fit.pt",
            )
        except SplitLabError as error:
            return replace(told, failed=str(error))
        shutil.rmtree(folder, ignore_errors=True)
        means: Mapping[str, Any] = _means(self.truth, outcome.estimate.values.cpu())
        return replace(
            told,
            **means,
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
