"""The one path of a point: from its config to its record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch import Tensor

from adversary.contract.attack import run_attack
from adversary.contract.threat import ThreatModel
from bench.point.capture import Captured, utility
from bench.point.doubtful import own_doubts, repeated, shared
from bench.point.grants import make_threat
from bench.point.identity.config import PointConfig
from bench.point.kept import keep, kept_by_default
from bench.point.lab import Lab
from bench.point.measure import make_attack
from bench.point.score import score
from splitlab.capture import Capture
from splitlab.contracts import Features
from splitlab.machine import environment
from splitlab.randomness import generator
from splitlab.record import METHOD_VERSION, Record
from splitlab.split import SplitPoint
from splitlab.training import Progress


@dataclass(frozen=True)
class Skipped:
    """A measurement that could not be made, and why."""

    why: str


def run(config: PointConfig, lab: Lab, progress: Progress | None = None) -> Record:
    """Make what is not there yet, fit while the capture is under way, attack what was captured,
    score it.

    Where `lab` has measured a point of the same deployment before, its processes still serve. An
    attack that is granted the capture is fitted once the capture is there.

    Raises:
        Unavailable: something that this machine lacks.
        SplitLabError: a training, a process or the attack failed.
    """
    splits, attack = lab.data(config), make_attack(config.attack, config.attack_options)
    place, grant, sources = lab.deployed(config), config.grant, lab.sources
    point = lab.identity(config)
    judge, capture, whole = lab.judge(config), lab.capture(config), lab.undefended(config)

    def seen() -> Features:
        return observe(capture.result(), config.attacked, config.seed)

    made = lab.made(config)
    threat = make_threat(
        place / "deployment",
        grant,
        splits,
        config.seed,
        config.knowledge,
        seen().features if grant.capture else None,
        made,
    )
    outcome = run_attack(
        attack,
        threat,
        seen,
        generator(config.seed, "attack", *config.stream),
        device=sources.device,
        progress=progress,
        checkpoint=lab.checkpoint(config, attack),
    )
    captured = capture.result()
    victims = splits.victims.take(config.victims, config.seed)
    # A floor is a real image even to an adversary who has none.
    own = splits.auxiliary if made is not None else threat.need("aux").images
    kind = attack.estimates
    floor = kind.floor_of(own)
    scores = score(
        outcome.ids,
        outcome.estimate.values,
        captured.join,
        victims,
        floor,
        {**judge.context, "lpips_weights": sources.lpips_weights},
        config.seed,
        kind,
    )
    values = outcome.estimate.values.cpu()
    picture = kind.picture(lab.images, point, scores.truth, values)
    limit = sources.keep_images
    if limit is None:
        limit = kept_by_default(values[0].numel())
    kept = keep(lab.images, point, outcome.ids, values, floor, scores, limit)
    split = split_facts(lab.split(config))
    return Record(
        hash=point,
        method_version=METHOD_VERSION,
        config=config.as_dict(),
        data_hash=splits.hash,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        split=split if config.experiment else {**split, "name": place.name},
        threat=grant.card(),
        utility=utility(captured, whole, victims),
        rate=captured.evaluation["rate"],
        latency=captured.latency if lab.with_latency else {},
        leakage=scores.leakage,
        floor=scores.floor,
        effort=outcome.effort,
        attack_facts=outcome.estimate.extra,
        estimates=kind.name,
        doubts=own_doubts(
            scores.leakage,
            scores.floor,
            scored=scores.items,
            victims=len(victims),
            repeated=repeated(victims.images),
            shared=shared(victims.images, _granted(threat)),
            attack_doubts=tuple(outcome.estimate.doubts),
            kind=kind,
        ),
        images=picture,
        kept=kept,
        environment=environment(),
    )


def ready(config: PointConfig, lab: Lab) -> None:
    """Train and capture the deployment of a point, if that has not been done."""
    lab.deployed(config)
    lab.capture(config).result()


def forget(config: PointConfig, lab: Lab) -> None:
    """Remove what the fit of a point would have continued from; its record is written."""
    attack = make_attack(config.attack, config.attack_options)
    checkpoint = lab.checkpoint(config, attack)
    for path in checkpoint.parent.glob(f"{checkpoint.stem}*.pt"):
        path.unlink(missing_ok=True)


def _granted(threat: ThreatModel) -> Tensor | None:
    """The adversary's own images, uint8 [n, 3, S, S]; None without any."""
    return threat.aux.images.images if threat.aux is not None else None


def observe(captured: Captured, limit: int | None, seed: int) -> Features:
    """Captured features of `limit` victims (all for None), the same ones at every split point.

    Which victims is drawn under the public seed, so that split points and attacks are compared on
    the same images; the attack itself is told nothing but ids and features. Several captures of
    one victim are averaged, under the id of the first: an adversary that can link them does so.
    """
    ids, features = Capture.open(captured.capture).features()
    rows: dict[int, list[int]] = {}
    for row, key in enumerate(ids):
        rows.setdefault(captured.join.get(key, -1 - row), []).append(row)
    order = torch.randperm(len(rows), generator=generator(seed, "attacked"))[:limit]
    chosen = [rows[victim] for victim in torch.tensor(sorted(rows))[order].tolist()]
    return Features(
        tuple(ids[own[0]] for own in chosen), torch.stack([features[own].mean(0) for own in chosen])
    )


def split_facts(split: SplitPoint) -> dict[str, Any]:
    """The split point as a record keeps it."""
    return {
        "name": split.name,
        "index": split.index,
        "shape": list(split.shape),
        "bytes_per_image": split.bytes_per_image,
        "head_params": split.head_params,
        "rest_params": split.rest_params,
        "head_macs": split.head_macs,
        "rest_macs": split.rest_macs,
    }
