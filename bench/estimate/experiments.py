"""What `bench reproduce` and `bench search` will take.

Of each attack with its settings one measurement is rehearsed, where it comes first, and stands for
all of its kind; of each seed the same is expected.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

import defenses
from adversary.estimating.commands import batch_seconds
from adversary.registry import ATTACKS
from adversary.synthesis.settings import SynthesisSettings
from adversary.synthesis.synthesis import Known
from bench.estimate.cells import PlannedCell, Run, stages
from bench.estimate.deployment import order_of
from bench.estimate.halves import sample
from bench.estimate.points import Costs, WantedPoint, image_seconds, measured
from bench.estimate.processes import Starting
from bench.estimate.scoring import Scoring
from bench.estimate.training import classifier_seconds, defended_seconds, judge_seconds
from bench.point.identity.config import PointConfig
from bench.point.measure import make_attack
from bench.point.victim import learns, shared_training
from bench.reproduce.frame.experiment import Measurement
from bench.reproduce.frame.seed_run import SeedRun
from splitlab.estimating import Bounded, Clock, Forecast, Meter, memory_now
from splitlab.models import Normalised, build
from splitlab.storage import canonical_json
from splitlab.training import OutOfTime, choose_device

SECONDS = 15.0
"""For the rehearsals of all attacks together, and of all trainings; what is left is not counted."""

Pending = Mapping[int, Sequence[Measurement]]
"""Seed -> what has no record yet."""


@dataclass
class _Sums:
    """Stages under way, and what cannot be told."""

    seconds: dict[str, float] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, what: str, taken: float | None, times: float = 1.0) -> None:
        """Count `times` times, or name it as not counted."""
        if taken is None:
            self.missing.append(what)
        else:
            self.seconds[what] = self.seconds.get(what, 0.0) + times * taken


def kind_of(one: Measurement) -> bytes:
    """Measurements of one kind are the same attack with the same settings."""
    return canonical_json([one.attack, {k: str(v) for k, v in one.options.items()}])


def experiment_estimate(
    run: SeedRun,
    pending: Pending,
) -> Forecast:
    """Of all seeds, measured with the data of one.

    Args:
        run: of that seed.
    """
    meter, sums = Clock(), _Sums()
    points = sum(map(len, pending.values()))
    every = [one for own in pending.values() for one in own]
    device = str(choose_device(run.request.device))
    arch = run.setup.arch(len(run.splits.classes))
    net = build(arch, seed=0).eval()
    begun = Starting(arch)
    taken, embed = judge_seconds(run.point(every[0]), run.splits, meter, device, trains=True)
    sums.add("the judge", taken, len(pending))
    _add_training(sums, run, pending, Bounded(meter, SECONDS), device)
    costs = _all_costs(run, net, every, meter, device)
    for one in every:
        sums.add(f"attack {one.attack}", costs[kind_of(one)].attacks[0])
    _add_synthetic(sums, run, pending, net, meter, torch.device(device))
    seconds = begun.seconds()
    common = Run(
        image=image_seconds(net, run.splits.validation, meter),
        start=seconds,
        loading=seconds,
        victims=len(run.splits.victims),
        undefended=len(run.splits.victims),
        validation=len(run.splits.validation),
        cores=os.cpu_count() or 1,
    )
    for own in pending.values():
        cells = []
        for place in dict.fromkeys(one.place for one in own):
            here = [one for one in own if one.place == place]
            halves = sum(1 + ("bodies" in one.knows) for one in here)
            cells.append(PlannedCell(costs[kind_of(here[0])], (), halves))
        for what, taken in stages(cells, common).items():
            sums.add(what, taken)
    victims = run.splits.victims
    scoring = Scoring(victims, embed, run.request.lpips_weights, meter)
    for one in every:
        kind = ATTACKS.load(one.attack).estimates
        sums.add("scoring", scoring.seconds(one.limit or len(victims), kind))
    pixels = sum(map(len, run.splits.partitions.values())) * 3 * run.setup.size**2
    return Forecast.of_stages(points, sums.seconds, memory_now() + 5 * pixels, sums.missing)


def _all_costs(
    run: SeedRun, net: Normalised, every: Sequence[Measurement], meter: Meter, device: str
) -> dict[bytes, Costs]:
    """By kind; of kinds that there is no time for, with an attack that cannot be told."""
    kinds = {kind_of(one): one for one in reversed(every)}
    bounded, found = Bounded(meter, SECONDS), dict[bytes, Costs]()
    for kind, one in sorted(kinds.items(), key=lambda item: every.index(item[1])):
        try:
            limit = SECONDS / len(kinds)
            found[kind] = _kind_costs(run, net, one, bounded if found else meter, device, limit)
        except OutOfTime:
            found[kind] = replace(next(iter(found.values())), attacks=(None,))
    return found


def _kind_costs(
    run: SeedRun, net: Normalised, one: Measurement, meter: Meter, device: str, limit: float
) -> Costs:
    """At the place of one measurement, with its attack."""
    config = run.point(one)
    wanted = WantedPoint(
        make_attack(one.attack, one.options),
        one.grant(run.setup),
        one.limit or len(run.splits.victims),
        limit,
    )
    return measured(
        net,
        run.setup.arch(len(run.splits.classes)),
        defenses.parse(one.place.defense),
        config,
        config.split,
        run.splits,
        [wanted],
        meter,
        device,
    )


def _add_training(sums: _Sums, run: SeedRun, pending: Pending, meter: Meter, device: str) -> None:
    """Each network once a seed, however many places it is deployed at."""
    stacks: dict[tuple[str | None, ...], tuple[defenses.Stack, PointConfig]] = {}
    plain = False
    for one in {one.place: one for own in pending.values() for one in own}.values():
        stack, config = defenses.parse(one.place.defense), run.point(one)
        if learns(config, stack):
            trained = (shared_training(stack.spec), config.split, config.tail_start)
            stacks.setdefault(trained, (stack, config))
        else:
            plain = True
    images, times = run.splits.train, len(pending)
    if plain and run.request.weights is None:
        own = build(run.setup.arch(len(run.splits.classes)), seed=0)
        taken = classifier_seconds(own, images, len(images), run.setup.recipe, meter, device)
        sums.add("training", taken, times)
    for stack, config in stacks.values():
        arch = run.setup.arch(len(run.splits.classes))
        order = order_of(config, arch, config.split, run.splits, run.request.device)
        sums.add(f"training with {stack.name}", defended_seconds(stack, order, meter), times)


def _add_synthetic(
    sums: _Sums,
    run: SeedRun,
    pending: Pending,
    net: Normalised,
    meter: Meter,
    device: torch.device,
) -> None:
    """Images that adversaries make, once a seed for all that want the same."""
    made: dict[bytes, Measurement] = {}
    for one in (one for own in pending.values() for one in own):
        if one.synthetic is not None:
            own_head = run.point(one).split if one.synthetic.layers == "head" else ""
            made.setdefault(canonical_json([one.synthetic.as_dict(), own_head]), one)
    for one in made.values():
        assert one.synthetic is not None
        config = run.point(one)
        arch = run.setup.arch(len(run.splits.classes))
        half = sample(net, arch, defenses.parse(one.place.defense), config, config.split).client
        whole = one.synthetic.layers != "head"
        known = Known((net if whole else half.head,), arch.input, whole)
        settings = SynthesisSettings.configured(one.synthetic.settings)
        batches = -(-(one.synthetic.images + one.synthetic.HELD_OUT) // settings.batch_size)
        taken = batch_seconds(known, settings, seed=0, device=device, meter=meter)
        sums.add("making synthetic images", taken, batches * len(pending))
