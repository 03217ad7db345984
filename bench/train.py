"""Train one network and write one deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import defenses
from bench.deploy import deploy
from bench.recipe import SweepConfig
from bench.victim import arch_of, prepare_victim
from splitlab.data import load_splits
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import Secret
from splitlab.split import find_point, split_points
from splitlab.storage import require_writable
from splitlab.training import Progress, Protection


def train_and_deploy(
    out: Path,
    config: SweepConfig,
    *,
    weights: Path | None,
    data_root: Path | None,
    download: bool,
    secret_seed: int | None,
    progress: Progress,
) -> dict[str, Any]:
    """Train (or load) the configured network, cut it at `config.splits`, write both halves.

    Names are checked before anything is trained. A killed training continues from `out/training`.

    Returns:
        the victim's facts, with `split` and `digest`.

    Raises:
        BadInput: `out` holds a deployment already.
        UnknownName, NotCuttable: no such network, data set, defence or split point.
    """
    for half in ("client", "server"):
        if (out / half / "deployment.json").exists():
            raise BadInput(f"{out / half}: a deployment is there already; choose another --out")
    stack = defenses.parse(config.defense)
    splits = load_splits(
        config.dataset,
        size=config.size,
        seed=config.seed,
        root=data_root,
        download=download,
        limits={"train": config.train_images},
    )
    arch = arch_of(config, len(splits.classes))
    points = split_points(build(arch, seed=0), arch.input.shape, "operation")
    point = find_point(points, config.splits)
    if config.tail_start is not None:
        end = find_point(points, config.tail_start)
        if end.index <= point.index:
            raise BadInput(f"--tail-start {end.name} is not behind --split {point.name}")
    require_writable(out)
    secret = Secret.new(secret_seed)
    protectors = stack.protectors(point.shape, secret)
    protect = Protection(point.name, protectors) if config.train_with_defense else None
    victim = prepare_victim(
        out / "training", config, splits, weights=weights, progress=progress, protect=protect
    )
    digest = deploy(
        out,
        victim.net,
        victim.arch,
        head_end=config.splits,
        tail_start=config.tail_start,
        defense=config.defense,
        wire=config.wire,
        classes=splits.classes,
        secret=secret,
        protectors=protectors,
        victims_hash=splits.victims.hash,
    )
    return {**victim.facts, "split": point.name, "digest": digest}
