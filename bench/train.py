"""Train one network and write one deployment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import defenses
from bench.estimate.deployment import deployment_estimate
from bench.point import counts, data_notes
from bench.point.deploy import deploy
from bench.point.lab import Sources, loaded
from bench.point.own_network import require_same_network
from bench.point.recipe import SweepConfig
from bench.point.victim import (
    kept_secret,
    learns,
    prepare_victim,
    require_no_weights,
)
from bench.point.weights import LabelFiles, tried_weights
from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.estimating import Forecast
from splitlab.models import build
from splitlab.record.binomial import majority
from splitlab.record.evidence_doubts import chance_told
from splitlab.split import find_point, split_points
from splitlab.storage import require_writable, sole
from splitlab.training import Progress

NOT_TRAINED = frozenset({"queries", "validation_images", "victims"})
"""Numbers of images that only a sweep takes."""


def train_and_deploy(
    out: Path,
    config: SweepConfig,
    *,
    weights: Path | None,
    labels: LabelFiles = LabelFiles(),
    data_root: Path | None,
    download: bool,
    secret_seed: int | None,
    progress: Progress,
    say: Callable[[Sequence[str]], None] = lambda _: None,
    begins: Callable[[Forecast], bool] | None = None,
) -> dict[str, Any]:
    """Train (or load) the configured network, cut it at `config.splits`, write both halves.

    `say` is told what was left out of the data, and which number of images follows from them;
    `begins` what it will take, and says whether to begin: else nothing is written, and returned.
    Names and numbers are checked before anything is trained. A killed training continues from
    `out/training`.

    Returns:
        how it was trained, its validation accuracy in % with the defence, `split`, `digest`, and
        `doubt`, "" or why that accuracy is none.

    Raises:
        BadInput: `out` holds a deployment already, or `weights` are given to a defence that the
            network has to learn with.
        UnknownName, NotCuttable: no such network, data set, defence or split point.
    """
    for half in ("client", "server"):
        if (out / half / "deployment.json").exists():
            raise BadInput(f"{out / half}: a deployment is there already; choose another --out")
    stack = defenses.parse(config.defense)
    stack.check(config.tail_start)
    require_no_weights(config, stack, weights)
    sources = Sources(
        config.dataset, data_root=data_root, download=download, weights=weights, labels=labels
    )
    splits = loaded(config, sources)
    config, adapted = counts.fitted(config, splits, NOT_TRAINED)
    say((*splits.notes, *adapted))
    arch = config.arch(len(splits.classes))
    points = split_points(build(arch, seed=0), arch.input.shape, "operation")
    point = find_point(points, config.splits)
    if config.tail_start is not None:
        end = find_point(points, config.tail_start)
        if end.index <= point.index:
            raise BadInput(f"--tail-start {end.name} is not behind --split {point.name}")
    if config.freeze is not None:
        find_point(points, config.freeze)
    if weights is not None:  # nothing is kept of a start whose weights are not the network's
        tried_weights(config, arch, weights, splits)
    require_writable(out)
    if begins is not None:
        trains = weights is None or config.new_classifier
        trains = trains and not (out / "training" / "victim.json").exists()
        if not begins(deployment_estimate(config, stack, arch, splits, trains=trains)):
            return {}
    held = sole(out / "training")
    try:
        require_same_network(out / "training", arch)
        data_notes.keep(out / "training", splits, adapted, private=True)
        secret = kept_secret(out / "training" / "client-secret.json", secret_seed)
        victim = None
        if not learns(config, stack):
            victim = prepare_victim(
                out / "training",
                config,
                splits,
                weights=weights,
                device=config.device,
                progress=progress,
            )
        facts = deploy(
            out,
            config,
            splits,
            stack,
            config.splits,
            secret,
            trained=out / "training",
            facts=out / "training" / "defended.json",
            victim=victim,
            device=config.device,
            progress=progress,
        )
    finally:
        held.release()
    facts = {**facts.get("network", {}), **facts}
    doubt = _doubt(facts["validation_accuracy"], splits.validation, weights)
    return {**facts, "split": point.name, "doubt": doubt}


def _doubt(accuracy: float, images: ImageSet, weights: Path | None) -> str:
    """That what was deployed may be no better than a constant answer, "" where it is."""
    chance = majority(images.labels.tolist())
    told = chance_told(accuracy, len(images), chance, "validation images")
    remedy = "train it longer" if weights is None else "check the weights and their classes"
    return told and f"the deployed network is at chance ({told}): {remedy}, or weaken its defence"
