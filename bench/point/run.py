"""The one path of a point: from its config to its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adversary.contract.attack import run_attack
from adversary.registry import attack_of
from bench.point.doubtful import own_doubts
from bench.point.identity.config import PointConfig
from bench.point.kept import keep, kept_by_default
from bench.point.lab import Lab
from bench.point.measure import make_attack
from bench.point.score import score
from bench.point.sights import sight_of
from splitlab.machine import environment
from splitlab.record import METHOD_VERSION, Record
from splitlab.record.evidence_doubts import LEARNS_NOTHING
from splitlab.training import Progress


@dataclass(frozen=True)
class Skipped:
    """A measurement that could not be made, and why."""

    why: str


def run(config: PointConfig, lab: Lab, progress: Progress | None = None) -> Record:
    """Make what is not there yet, fit while what is to be seen comes about, attack that, score it.

    What is seen and what is true of it is made by the sight of what the attack estimates. Where
    `lab` has measured a point of the same deployment before, its processes still serve. An attack
    that is granted the capture is fitted once the capture is there.

    Raises:
        Unavailable: something that this machine lacks.
        SplitLabError: a training, a process or the attack failed.
    """
    attack = make_attack(config.attack, config.attack_options)
    kind, point = attack.estimates, lab.identity(config)
    told = {} if attack.learns else {"learned_from": LEARNS_NOTHING}
    sight = sight_of(type(attack))(config, lab)
    outcome = run_attack(
        attack,
        sight.threat(),
        sight.seen,
        sight.rng(),
        device=lab.sources.device,
        progress=progress,
        checkpoint=lab.checkpoint(config, attack),
        fits=lab.fits(config, sight.stream),
    )
    truth, facts = sight.truth(), sight.facts()
    floor = kind.floor_of(truth.own)
    values = outcome.estimate.values.cpu()
    scores = score(
        outcome.ids,
        values,
        truth.join,
        truth.items,
        floor,
        truth.context,
        config.seed,
        kind,
        truth.groups,
    )
    picture = kind.picture(lab.images, point, *sight.shown(lab.images, point, scores.truth, values))
    limit = lab.sources.keep_images
    if limit is None:
        limit = kept_by_default(values[0].numel())
    kept = keep(lab.images, point, outcome.ids, values, floor, scores, limit)
    return Record(
        hash=point,
        method_version=METHOD_VERSION,
        config=config.as_dict(),
        data_hash=lab.data(config).hash,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        threat=config.grant.card(),
        **vars(facts),
        leakage=scores.leakage,
        floor=scores.floor,
        effort=outcome.effort,
        attack_facts={**told, **outcome.estimate.extra},
        estimates=kind.name,
        doubts=own_doubts(
            scores.leakage,
            scores.floor,
            scored=scores.items,
            victims=len(truth.groups),
            repeated=truth.repeated,
            shared=truth.shared,
            attack_doubts=(*outcome.estimate.doubts, *truth.doubts),
            kind=kind,
        ),
        images=picture,
        kept=kept,
        environment=environment(),
    )


def ready(points: Sequence[PointConfig], lab: Lab) -> None:
    """Train and capture the deployment of these points, if that has not been done."""
    for sight, point in {sight_of(attack_of(point.attack)): point for point in points}.items():
        sight.prepare(point, lab)


def forget(config: PointConfig, lab: Lab) -> None:
    """Remove what the fit of a point would have continued from; its record is written."""
    attack = make_attack(config.attack, config.attack_options)
    checkpoint = lab.checkpoint(config, attack)
    for path in checkpoint.parent.glob(f"{checkpoint.stem}*.pt"):
        path.unlink(missing_ok=True)
