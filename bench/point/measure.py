"""What a sweep measures: each attack with each knowledge at each split point, as points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adversary.contract.attack import Attack
from adversary.registry import ATTACKS, attack_of
from bench.point.grants import GRANTED, GrantRequest
from bench.point.identity.config import PointConfig
from bench.point.identity.known import stream_of_sweep
from bench.point.recipe import Knowledge, Networked, SweepConfig
from bench.point.sights import sight_of
from splitlab.errors import BadInput


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
        if not sight_of(kind).CUTS:
            raise BadInput(
                f"attack {name!r} estimates a {kind.estimates.name}, which no network that a sweep "
                "cuts can show; leave it out"
            )
        asks = kind.asks
        for unknown in sorted(set().union(*asks.values()) - GRANTED):
            raise BadInput(
                f"attack {name!r} asks for {unknown!r}; what can be granted is "
                f"{', '.join(sorted(GRANTED))}"
            )
        found += [Plan(name, k, _grant(config, asks[k], kind)) for k in kinds if k in asks]
    return found


def _grant(config: SweepConfig, fields: frozenset[str], kind: type[Attack]) -> GrantRequest:
    """Flags by name; `observe` is as many queries as the config allows."""
    flags: dict[str, Any] = dict.fromkeys(fields - {"observe", "oracle"}, True)
    return GrantRequest(
        **flags,
        auxiliary=config.queries,
        validation=config.validation_images,
        observe=config.queries if "observe" in fields else 0,
        linked=config.repeats,
        oracle=kind.answers if "oracle" in fields else "",
    )


def point_of(config: SweepConfig, split: str, plan: Plan, place: str = "") -> PointConfig:
    """One point of a sweep: which other splits and attacks it holds does not change it.

    Args:
        config: on one wire.
        place: name of the deployment, "" for the split point's own.

    Raises:
        UnknownName, BadInput: an attack, defence or setting that is none.
    """
    shared = {name: getattr(config, name) for name in Networked.model_fields}
    return PointConfig.resolved(
        **shared,
        split=split,
        attack=plan.attack,
        attack_options=config.attack_options.get(plan.attack, {}),
        attacked=config.attacked.get(plan.attack),
        knowledge=plan.knowledge,
        granted=plan.grant.card(),
        stream=stream_of_sweep(plan.attack, split),
        place=place or split,
    )


def make_attack(name: str, options: Mapping[str, Any]) -> Attack:
    """An attack with its hyper-parameters checked.

    Raises:
        UnknownName: no such attack.
        BadInput: a hyper-parameter that it has not, or out of range.
    """
    kind: type[Attack] = attack_of(name)
    return kind.configured(options)
