"""What a sweep over split points will take, stage by stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adversary.parts.budget import FULL_SIZE
from adversary.parts.pairs import KEPT_BYTES
from adversary.registry import ATTACKS
from bench.estimate.cells import (
    PlannedCell,
    Run,
    at_every_point,
    attack_stages,
    latency_seconds,
    stages,
)
from bench.estimate.deployment import order_of
from bench.estimate.points import Costs, WantedPoint, image_seconds, measured
from bench.estimate.processes import Starting
from bench.estimate.scoring import Scoring
from bench.estimate.training import classifier_seconds, defended_seconds, judge_seconds
from bench.point.measure import Plan, make_attack
from bench.point.recipe import SweepConfig
from bench.point.sights import sight_of
from bench.point.victim import head_tensors, learns
from defenses import Stack
from splitlab.contracts import ArchSpec
from splitlab.data import Splits
from splitlab.estimating import Clock, Forecast, Meter, between, memory_now
from splitlab.models import Normalised, build
from splitlab.split import SplitPoint
from splitlab.training import choose_device
from splitlab.wire.codec import payload_bytes

MEASURED, MEASURED_LARGE = 3, 2
"""Split points that are measured, up to `FULL_SIZE` and above; others lie between them."""


@dataclass(frozen=True)
class SweepWork:
    """What a sweep has left to do.

    Args:
        chosen: its split points.
        pending: (place in `chosen`, wire) -> places in `plans` that have no record yet.
        trains, judges: whether a victim and the judge are still to be trained.
        loading: seconds that the data took to load, which each client does again.
    """

    config: SweepConfig
    stack: Stack
    chosen: Sequence[SplitPoint]
    arch: ArchSpec
    splits: Splits
    plans: Sequence[Plan]
    pending: Mapping[tuple[int, str], tuple[int, ...]]
    trains: bool
    judges: bool
    loading: float
    lpips_weights: Path | None = None

    @property
    def points(self) -> int:
        return sum(len(plans) for plans in self.pending.values())


def sweep_estimate(
    work: SweepWork, meter: Meter | None = None, start: float | None = None, cores: int = 0
) -> Forecast:
    """Every stage, from samples at the actual size.

    Args:
        meter: by which is measured; the clock where None.
        start: seconds of a core that a process takes to start; measured where None.
        cores: of this machine; its own where 0.
    """
    meter, cores = meter or Clock(), cores or os.cpu_count() or 1
    config, device = work.config, str(choose_device(work.config.device))
    seconds: dict[str, float] = {}
    missing: list[str] = []
    net = build(work.arch, seed=0).eval()
    if not work.pending:
        every = len(work.chosen) * len(config.on_each_wire) * len(work.plans)
        return Forecast(0, (), memory_now(), finished=every)
    if work.trains and not learns(config, work.stack):
        seconds["the victim's training"] = _victim(work, meter, device)
    begun = Starting(work.arch) if start is None else None
    seconds["the judge"], embed = judge_seconds(
        config, work.splits, meter, device, trains=work.judges
    )
    count, several = len(work.chosen), MEASURED if config.size <= FULL_SIZE else MEASURED_LARGE
    costs = at_every_point(_measured(work, net, several, meter, device), count, several)
    start = begun.seconds() if begun is not None else start or 0.0
    if learns(config, work.stack):
        own = _defended(work, meter)
        if own is None:
            missing.append(f"training with {config.defense}")
        seconds["training with the defence"] = (own or 0.0) * len({n for n, _ in work.pending})
    cells = [
        PlannedCell(
            costs[n],
            plans,
            sum(1 + work.plans[p].grant.bodies for p in plans),
            tuple({sight_of(ATTACKS.load(work.plans[p].attack)).SENT for p in plans}),
        )
        for (n, _), plans in work.pending.items()
    ]
    run = Run(
        image=image_seconds(net, work.splits.victims, meter),
        start=start,
        loading=work.loading,
        victims=config.victims * config.repeats,
        undefended=config.victims,
        validation=len(work.splits.validation),
        cores=cores,
    )
    seconds |= stages(cells, run)
    for name, taken in attack_stages(cells, [plan.attack for plan in work.plans]).items():
        seconds[f"attack {name}"] = taken or 0.0
        missing += [f"attack {name}"] if taken is None else []
    victims = work.splits.victims.take(config.victims, config.seed)
    scoring = Scoring(victims, embed, work.lpips_weights, meter)
    seconds["scoring"] = sum(
        scoring.seconds(_attacked(work, p), ATTACKS.load(work.plans[p].attack).estimates)
        for plans in work.pending.values()
        for p in plans
    )
    down = 4 * work.arch.classes
    places = [
        (costs[n], payload_bytes(work.chosen[n].shape, wire.wire), down)
        for n in range(len(work.chosen))
        for wire in config.on_each_wire.values()
    ]
    seconds["latency"] = latency_seconds(places, config.links, start, cores)
    return Forecast.of_stages(work.points, seconds, _memory(work), missing)


def _attacked(work: SweepWork, plan: int) -> int:
    """Victims that a plan's attack is run on."""
    return work.config.attacked.get(work.plans[plan].attack, work.config.victims)


def lent_at(work: SweepWork, place: int) -> bool:
    """Whether what a plan's attack starts from is measured beside it wherever it is, as it is."""
    plan, options = work.plans[place], work.config.attack_options
    starts = make_attack(plan.attack, options.get(plan.attack, {})).starts_from
    wanted = {start.name: start for start in starts}
    lenders = {
        other.attack: n
        for n, other in enumerate(work.plans)
        if other.attack in wanted
        and other.knowledge == plan.knowledge
        # Lent is the fit of the very settings that are wanted.
        and make_attack(other.attack, options.get(other.attack, {})) == wanted[other.attack]
    }
    beside = [set(plans) for plans in work.pending.values() if place in plans]
    return (
        bool(wanted)
        and set(lenders) == set(wanted)
        and all(set(lenders.values()) <= own for own in beside)
    )


def _measured(
    work: SweepWork, net: Normalised, several: int, meter: Meter, device: str
) -> dict[int, Costs]:
    """`several` of the split points, those at the ends among them."""
    count = len(work.chosen)
    wanted = [
        WantedPoint(
            make_attack(plan.attack, work.config.attack_options.get(plan.attack, {})),
            plan.grant,
            _attacked(work, n),
            lent=lent_at(work, n),
        )
        for n, plan in enumerate(work.plans)
    ]
    return {
        n: measured(
            net,
            work.arch,
            work.stack,
            work.config,
            work.chosen[n].name,
            work.splits,
            wanted,
            meter,
            device,
        )
        for n in sorted({n for place in range(count) for n in between(count, place, several)[:2]})
    }


def _victim(work: SweepWork, meter: Meter, device: str) -> float:
    config = work.config
    net = build(work.arch, seed=0)
    frozen = head_tensors(net, config.freeze, work.arch) if config.freeze else ()
    rows = min(config.train_images, len(work.splits.train))
    return classifier_seconds(net, work.splits.train, rows, config.victim, meter, device, frozen)


def _defended(work: SweepWork, meter: Meter) -> float | None:
    """Training at one split point, the one in the middle."""
    middle = work.chosen[len(work.chosen) // 2].name
    order = order_of(work.config, work.arch, middle, work.splits, work.config.device)
    return defended_seconds(work.stack, order, meter)


def _memory(work: SweepWork) -> int:
    """Bytes: what there is now, features of all pairs, and all images as numbers."""
    config = work.config
    pairs = min(config.queries, len(work.splits.auxiliary))
    widest = max((point.bytes_per_image for point in work.chosen), default=0)
    pixels = (config.victims + pairs + config.train_images) * 3 * config.size**2
    return memory_now() + min(KEPT_BYTES, widest * pairs) + 5 * pixels
