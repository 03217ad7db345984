"""The rules that hold for every attack, each a function of what is tried: one path for all tests.

A rule that is broken raises `AssertionError` with a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from adversary.contract.attack import Attack, Outcome, run_attack
from adversary.contract.testing.small_world import DEFENSE, GRANTS, SmallWorld, small_world
from adversary.contract.threat import ThreatModel
from splitlab.contracts import Kind, Seen
from splitlab.errors import SplitLabError
from splitlab.metrics import evaluate
from splitlab.randomness import generator

KNOWLEDGE = ("undefended", "adaptive", "unaware")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""What `--attack NAME` and `--set NAME.FIELD=VALUE` can say."""


class AttackRule(NamedTuple):
    """One rule on one attack; `check` raises `AssertionError` where it is broken."""

    name: str
    check: Callable[[], None]


def attack_rules(
    kind: type[Attack],
    options: Mapping[str, Any] | None = None,
    world: SmallWorld | None = None,
) -> list[AttackRule]:
    """Every rule on an attack, a package's or the lab's own.

    Args:
        kind: the attack; `ATTACKS.load(name)` for a registered one.
        options: hyper-parameters under which it takes little time: it is fitted about six times,
            on 96 images of 16 pixels.
        world: what it is tried on; None for `small_world()`, which shows features and scores.
    """
    tried = _Tried(kind, dict(options or {}), world or small_world())
    rules = (
        says_what_it_is,
        presets_are_settings,
        *(_named(runs_on_what_it_asks_for, one) for one in KNOWLEDGE if one in tried.kind.asks),
        names_what_it_lacks,
        the_seed_decides,
        nothing_seen_is_nothing_told,
    )
    return [AttackRule(_title(rule), partial(rule, tried)) for rule in rules]


def _named(rule: Callable[..., None], knowledge: str) -> Callable[..., None]:
    return partial(rule, knowledge=knowledge)


def _title(rule: Callable[..., None]) -> str:
    """ "runs on what it asks for, adaptive"."""
    if isinstance(rule, partial):
        return f"{_title(rule.func)}, {rule.keywords['knowledge']}"
    return rule.__name__.replace("_", " ")


@dataclass(eq=False)
class _Tried:
    """One attack in one world; what was run before is kept."""

    kind: type[Attack]
    options: dict[str, Any]
    world: SmallWorld
    kept: dict[str, Outcome] = field(default_factory=dict)

    @property
    def attack(self) -> Attack:
        return self.kind.configured(self.options)

    @property
    def easiest(self) -> str:
        """What it is run with where nothing depends on its knowledge."""
        return next(iter(self.kind.asks))

    def threat(self, knowledge: str) -> ThreatModel:
        fields = self.kind.asks[knowledge]
        return self.world.threat(self.attack, fields, _acting(knowledge))

    def sights(self, knowledge: str, *, blind: bool = False) -> tuple[Seen, ...]:
        """No more of them than it asks for."""
        fields = self.kind.asks[knowledge]
        return self.world.sights(self.attack, _acting(knowledge), fields, blind=blind)

    def run(self, knowledge: str) -> Outcome:
        """With exactly what it asks for."""
        if knowledge not in self.kept:
            self.kept[knowledge] = self.again(self.threat(knowledge), knowledge)
        return self.kept[knowledge]

    def again(self, threat: ThreatModel, knowledge: str, *, blind: bool = False) -> Outcome:
        seen = self.sights(knowledge, blind=blind)
        if blind and threat.capture is not None:
            threat = replace(threat, capture=_features(seen))
        return run_attack(self.attack, threat, seen, generator(0, "attack", self.kind.name))


def _acting(knowledge: str) -> str:
    return "none" if knowledge == "undefended" else DEFENSE


def _features(seen: tuple[Seen, ...]) -> Tensor | None:
    return next((one.features for one in seen if hasattr(one, "features")), None)


def _require(holds: object, told: str) -> None:
    if not holds:
        raise AssertionError(told)


def says_what_it_is(tried: _Tried) -> None:
    """Name, source, what it sees and estimates, and what it is granted, all in the lab's words."""
    kind = tried.kind
    for said in ("name", "source", "asks"):
        _require(hasattr(kind, said), f"it does not say {said!r}")
    _require(
        NAME.fullmatch(kind.name),
        f"{kind.name!r} cannot be typed: wanted letters, digits, - and _ alone",
    )
    _require(kind.source.strip(), "it names no source")
    _require(
        kind.sees and all(one in get_args(Seen) for one in kind.sees),
        f"it sees {kind.sees}; wanted one or more of {[one.__name__ for one in get_args(Seen)]}",
    )
    _require(isinstance(kind.estimates, Kind), f"it estimates {kind.estimates!r}, no Kind")
    _require(kind.estimates.headline, "no metric of its kind says when it failed")
    _require(
        kind.asks and set(kind.asks) <= set(KNOWLEDGE),
        f"it asks by {list(kind.asks)}; wanted one or more of {', '.join(KNOWLEDGE)}",
    )
    for knowledge, fields in kind.asks.items():
        unknown = sorted(fields - set(GRANTS))
        _require(
            not unknown,
            f"it asks for {unknown} where it is {knowledge}; there is {', '.join(GRANTS)}",
        )
    tried.kind()  # its defaults are settings


def presets_are_settings(tried: _Tried) -> None:
    """Each preset configures the attack, and says where it was read."""
    for name, preset in tried.kind.presets.items():
        made = tried.kind.configured({"preset": name})
        for setting in preset.fields:
            _require(hasattr(made, setting), f"preset {name!r} sets {setting!r}, which it has not")
        _require(preset.source.strip(), f"preset {name!r} names no source")


def runs_on_what_it_asks_for(tried: _Tried, knowledge: str) -> None:
    """Exactly what it asks for is enough; its answer is of its kind, finite, a row an id."""
    done = tried.run(knowledge)  # which checks the answer's form, and that nothing was changed
    values = done.estimate.values
    _require(values.isfinite().all(), "it answered values that are NaN or infinite")
    _require(values.device.type == "cpu", f"it answered on {values.device}; wanted the CPU")
    _require(not values.requires_grad, "its answer still holds the graph that made it")
    ids = tried.sights(knowledge)[0].ids
    _require(done.ids == ids, "the ids of its answer are not those that it saw")


def names_what_it_lacks(tried: _Tried) -> None:
    """Without what it asks for it runs all the same, or an error says which field it needs."""
    full = tried.threat(tried.easiest)
    bare = ThreatModel(feature=full.feature, input=full.input)
    try:
        tried.again(bare, tried.easiest)
    except SplitLabError:
        return
    except Exception as error:
        raise AssertionError(
            f"granted nothing it raises {type(error).__name__}: {error}; take what it needs by "
            "threat.need(field), which says what is missing"
        ) from error


def the_seed_decides(tried: _Tried) -> None:
    """The same seed gives the same answer; the global generator is neither used nor moved."""
    first = tried.run(tried.easiest).estimate.values
    before = torch.random.get_rng_state()
    try:
        torch.manual_seed(17)
        state = torch.random.get_rng_state()
        second = tried.again(tried.threat(tried.easiest), tried.easiest).estimate.values
        _require(
            torch.equal(first, second), "the same seed gave another answer: draw from rng alone"
        )
        _require(
            torch.equal(state, torch.random.get_rng_state()),
            "it moved torch's global generator: draw from rng, or within torch.random.fork_rng",
        )
    finally:
        torch.random.set_rng_state(before)


def nothing_seen_is_nothing_told(tried: _Tried) -> None:
    """Shown other images' sights it is no better on the victims than the floor of its kind."""
    kind, world, knowledge = tried.kind.estimates, tried.world, tried.easiest
    threat = tried.threat(knowledge)
    answer = tried.again(threat, knowledge, blind=True).estimate.values
    own = threat.aux.images if threat.aux is not None else world.others
    truth = kind.truth(world.items, world.context)
    floor = kind.floor_of(own).expand_as(answer).contiguous()
    metric = kind.headline
    told, least = (
        evaluate((metric,), truth, values, world.context)[metric.name] for values in (answer, floor)
    )
    _require(told.number is not None and least.number is not None, f"unscored: {told.why}")
    assert least.number is not None
    interval = told.interval(world.items.groups)
    sure = interval.low if metric.leakage == "rises" else interval.high
    _require(
        sure is None or metric.failed(sure, least.number),
        f"where nothing is to be seen it reaches {metric.told(told.number or 0.0)}, better than "
        f"{kind.floor_is} ({metric.told(least.number)}): it has seen the victims elsewhere",
    )
