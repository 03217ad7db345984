"""One point: an attack with its knowledge on one captured split point, scored into a record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adversary.contract.attack import Attack, require_features, run_attack
from adversary.contract.threat import ThreatModel
from adversary.registry import ATTACKS
from adversary.synthesis.folder import Made
from bench.point.capture import Captured, CaptureRun, utility
from bench.point.doubtful import own_doubts, repeated, shared
from bench.point.grants import GRANTED, GrantRequest, make_threat
from bench.point.judge import Judge
from bench.point.kept import keep, kept_by_default
from bench.point.recipe import Knowledge, SweepConfig
from bench.point.score import score
from splitlab.capture import Capture
from splitlab.contracts import Features
from splitlab.data import Splits
from splitlab.errors import BadInput
from splitlab.machine import environment
from splitlab.randomness import generator
from splitlab.record import METHOD_VERSION, Record
from splitlab.split import SplitPoint
from splitlab.training import Progress


@dataclass(frozen=True)
class Scene:
    """What all the points of one split point share.

    Args:
        place: folder of this split point, with `deployment/`, `capture/` and `evaluation/`.
        capture: the captured run, finished or under way.
        whole: logits of the undefended network on the victims.
        judge: its features are for re-identification.
        name: of the place in tables, "" for the split point's own; another wire's has its own.
    """

    config: SweepConfig
    splits: Splits
    split: SplitPoint
    place: Path
    capture: CaptureRun
    whole: Tensor
    judge: Judge
    images: Path
    lpips_weights: Path | None
    name: str = ""

    def checkpoint(self, attack: Attack, name: str) -> Path:
        """Where a fit keeps what it would lose by a kill.

        Split points lie two folders below their run, which has a folder for work that they share.
        """
        if attack.shares:
            return (
                self.place.parents[1]
                / "attacks"
                / attack.name
                / f"{self.name or self.split.name}-{name}.pt"
            )
        return self.place / "attacks" / f"{name}.pt"


@dataclass(frozen=True)
class Plan:
    """One attack to run at every split point, and what it is granted there."""

    attack: str
    knowledge: Knowledge
    grant: GrantRequest


def plans(config: SweepConfig) -> list[Plan]:
    """Each attack with each knowledge: both unaware and adaptive where a defence acts.

    What an attack is granted stands on the attack itself (`Attack.asks`).

    Raises:
        UnknownName: no such attack.
    """
    kinds: tuple[Knowledge, ...] = (
        ("undefended",) if config.defense == "none" else ("adaptive", "unaware")
    )
    found: list[Plan] = []
    for name in config.attacks:
        kind: type[Attack] = ATTACKS.load(name)
        require_features(kind, "a sweep")
        asks = kind.asks
        for unknown in sorted(set().union(*asks.values()) - GRANTED):
            raise BadInput(
                f"attack {name!r} asks for {unknown!r}; what can be granted is "
                f"{', '.join(sorted(GRANTED))}"
            )
        found += [Plan(name, k, _grant(config, asks[k])) for k in kinds if k in asks]
    return found


def _grant(config: SweepConfig, fields: frozenset[str]) -> GrantRequest:
    """Flags by name; `observe` is as many queries as the config allows."""
    flags: dict[str, Any] = {field: True for field in fields if field != "observe"}
    return GrantRequest(
        **flags,
        auxiliary=config.queries,
        validation=config.validation_images,
        observe=config.queries if "observe" in fields else 0,
        linked=config.repeats,
    )


def run_point(scene: Scene, plan: Plan, point: str, progress: Progress | None) -> Record:
    """One attack of a sweep, with its knowledge, on one split point."""
    config = scene.config
    attack = make_attack(plan.attack, config.attack_options.get(plan.attack, {}))
    name = () if attack.shares else (scene.split.name,)
    return measure(
        scene,
        attack,
        plan.knowledge,
        plan.grant,
        config=config.point(scene.split.name, plan.attack, plan.knowledge),
        point=point,
        limit=config.attacked.get(plan.attack),
        rng=generator(config.seed, "attack", plan.attack, *name),
        checkpoint=scene.checkpoint(attack, f"{plan.attack}-{plan.knowledge}"),
        progress=progress,
    )


def measure(
    scene: Scene,
    attack: Attack,
    knowledge: Knowledge,
    grant: GrantRequest,
    *,
    config: dict[str, Any],
    point: str,
    limit: int | None,
    rng: torch.Generator,
    checkpoint: Path,
    progress: Progress | None,
    made: Made | None = None,
    with_latency: bool = False,
) -> Record:
    """Fit while the capture is under way, attack what was captured, score, make the record.

    An attack that is granted the capture is fitted once the capture is there.

    Args:
        config: what the record keeps as the point's config; `point` is its hash.
        limit: victims that the attack is run on; None for all.
        made: synthetic images, where they are granted in place of real ones.
        with_latency: whether the record keeps what the capture took; a run that measures the
            latency of all its deployments together does without.
    """
    settings = scene.config

    def seen() -> Features:
        return observe(scene.capture.result(), limit, settings.seed)

    threat = make_threat(
        scene.place / "deployment",
        grant,
        scene.splits,
        settings.seed,
        knowledge,
        seen().features if grant.capture else None,
        made,
    )
    outcome = run_attack(
        attack,
        threat,
        seen,
        rng,
        device=settings.device,
        progress=progress,
        checkpoint=checkpoint,
    )
    captured = scene.capture.result()
    victims = scene.splits.victims.take(settings.victims, settings.seed)
    # A floor is a real image even to an adversary who has none.
    own = scene.splits.auxiliary if made is not None else threat.need("aux").images
    kind = attack.estimates
    floor = kind.floor_of(own)
    scores = score(
        outcome.ids,
        outcome.estimate.values,
        captured.join,
        victims,
        floor,
        {**scene.judge.context, "lpips_weights": scene.lpips_weights},
        settings.seed,
        kind,
    )
    values = outcome.estimate.values.cpu()
    picture = kind.picture(scene.images, point, scores.truth, values)
    limit_kept = settings.keep_images
    if limit_kept is None:
        limit_kept = kept_by_default(values[0].numel())
    kept = keep(scene.images, point, outcome.ids, values, floor, scores, limit_kept)
    return Record(
        hash=point,
        method_version=METHOD_VERSION,
        config=config,
        data_hash=scene.splits.hash,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        split={**split_facts(scene.split), "name": scene.name or scene.split.name},
        threat=grant.card(),
        utility=utility(captured, scene.whole, victims),
        rate=captured.evaluation["rate"],
        latency=captured.latency if with_latency else {},
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


def _granted(threat: ThreatModel) -> Tensor | None:
    """The adversary's own images, uint8 [n, 3, S, S]; None without any."""
    return threat.aux.images.images if threat.aux is not None else None


def make_attack(name: str, options: Mapping[str, Any]) -> Attack:
    """An attack with its hyper-parameters checked.

    Raises:
        UnknownName: no such attack.
        BadInput: a hyper-parameter that it has not, or out of range.
    """
    kind: type[Attack] = ATTACKS.load(name)
    return kind.configured(options)


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
