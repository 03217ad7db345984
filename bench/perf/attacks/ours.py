"""Our attacks as contenders: run as a sweep runs them, by the same contract, and timed whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from adversary.contract.attack import require_features, run_attack
from bench.perf.attacks.race import Reading, Seconds, sound
from bench.perf.attacks.scene import Scene
from bench.point.measure import make_attack
from splitlab.answers import plain_data
from splitlab.contracts import Features
from splitlab.errors import BadInput
from splitlab.named import written

KNOWLEDGE = "undefended"


class OurAttack(NamedTuple):
    """An attack with its options; those that are left out are its defaults."""

    attack: str
    options: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """ "rmle:start=mean"."""
        return written(self.attack, self.options)


SHORTEST: Mapping[str, Any] = {"start": "mean", "choose_images": 0, "steps": 200}
"""Of `rmle` where time is short: nothing is fitted and nothing is tried."""
OURS: tuple[OurAttack, ...] = (
    OurAttack("rmle", {"steps": 1000}),
    OurAttack("rmle"),
    OurAttack("rmle", {"start": "mean", "steps": 600}),
    OurAttack("rmle", {"start": "mean"}),
    OurAttack("rmle", SHORTEST),
    OurAttack("decoder"),
    OurAttack("decoder", {"epochs": 3}),
)
"""Strongest first: "ours" at a depth and budget is the first that is finished within it. The clock
alone says which; to know that takes none of its seconds. Whoever changes the list after victims
were scored says so beside the results."""


def settings_of(ours: OurAttack) -> dict[str, Any]:
    """Every hyper-parameter, and the method's version: what makes two runs of it comparable.

    Raises:
        UnknownName, BadInput: no such attack or option, or one that asks for what no sweep's
            undefended row is granted.
    """
    attack = make_attack(ours.attack, ours.options)
    require_features(type(attack), "bench perf attacks")
    if KNOWLEDGE not in attack.asks:
        raise BadInput(f"attack {ours.attack!r} runs under a defence alone; leave it out")
    return {**attack.told(), "version": attack.version}


def knows_head(ours: OurAttack) -> bool:
    """Whether it is granted the head, beside queries."""
    return "head" in make_attack(ours.attack, ours.options).asks[KNOWLEDGE]


class OurReading(NamedTuple):
    """What one of our attacks gave, with what a record says of it.

    Args:
        reading: of the victims; its budget is the time that it took.
        facts: fit and reconstruction in CPU seconds, what won among its settings, its doubts.
    """

    reading: Reading
    facts: dict[str, Any]


def run_ours(ours: OurAttack, scene: Scene, clock: Seconds) -> OurReading:
    """Fit and reconstruct, once; the victims are one capture to it.

    The checks of `run_attack` cost it time too.

    Raises:
        MissingKnowledge, SplitLabError: as `run_attack`.
    """
    attack = make_attack(ours.attack, ours.options)
    threat = scene.threat().reduced(attack.asks[KNOWLEDGE])
    ids = tuple(f"request/{row}" for row in range(len(scene.truth)))
    seen, between = Features(ids, scene.features), list[float]()

    def observed() -> Features:
        between.append(clock())
        return seen

    began = clock()
    outcome = run_attack(attack, threat, observed, scene.rng(ours.name))
    ended = clock()
    images, broken = sound(outcome.estimate.values)
    seconds = ended - began
    facts = {
        "fit_seconds": between[0] - began,
        "reconstruct_seconds": ended - between[0],
        "effort": outcome.effort,
        "extra": plain_data(outcome.estimate.extra),
        "doubts": list(outcome.estimate.doubts),
    }
    return OurReading(Reading(seconds, seconds, 0, images, broken, float("nan")), facts)
