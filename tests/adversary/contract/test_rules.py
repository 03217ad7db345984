"""Every registered attack keeps the rules that packages of others are held to; and who breaks one
is found out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from test_contract import QUICK

from adversary.contract.attack import Attack, Preset
from adversary.contract.testing import attack_rules
from adversary.contract.testing.small_world import GRANTS
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.registry import ATTACKS
from bench.point.grants import GRANTED
from splitlab.contracts import Estimate, Features, Scores
from splitlab.contracts.kinds import MEMBERSHIP

RULES = [
    pytest.param(rule, id=f"{name}: {rule.name}")
    for name in ATTACKS
    for rule in attack_rules(ATTACKS.load(name), QUICK.get(name))
]


@pytest.mark.parametrize("rule", RULES)
def test_an_attack_keeps_the_rule(rule: Any) -> None:
    rule.check()


class Fair(Attack):
    """Keeps all of them: the mean image."""

    name: ClassVar[str] = "fair"
    source: ClassVar[str] = "a test"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {"undefended": frozenset({"head"})}

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del work
        return self.answer(threat, torch.rand(1, generator=rng))

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        del drawn
        mean = threat.need("aux").images.floats("cpu").mean(0)
        return lambda seen: Estimate(mean.expand(len(seen.ids), *mean.shape).clone())


class Unnamed(Fair):
    name: ClassVar[str] = "two words"


class Greedy(Fair):
    """Asks for what nobody grants."""

    asks: ClassVar[Mapping[str, frozenset[str]]] = {"undefended": frozenset({"images"})}


class Mislabelled(Fair):
    presets: ClassVar[Mapping[str, Preset]] = {"fast": Preset({}, "")}


class Careless(Fair):
    """Takes what it was not granted for granted."""

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        assert threat.head is not None
        threat.head(torch.zeros(1, 3, 16, 16))
        return super().answer(threat, drawn)


class Unasked(Fair):
    """Needs the bodies and does not ask for them."""

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        threat.need("bodies", self.name)
        return super().answer(threat, drawn)


class Restless(Fair):
    """Draws from the global generator."""

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        answer = super().answer(threat, drawn)
        noise = 0.1 * torch.rand(1)
        return lambda seen: Estimate((answer(seen).values + noise).clamp(0, 1))


class Numb(Fair):
    """Answers with no numbers."""

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        answer = super().answer(threat, drawn)
        return lambda seen: Estimate(answer(seen).values * torch.nan)


class Cheat(Fair):
    """Has the victims from somewhere else."""

    def answer(self, threat: ThreatModel, drawn: torch.Tensor) -> Estimator:
        from adversary.contract.testing import images

        del threat, drawn
        return lambda seen: Estimate(images(len(seen.ids), 3).floats("cpu"))


@pytest.mark.parametrize(
    ("kind", "rule", "words"),
    [
        (Unnamed, "says what it is", "cannot be typed"),
        (Greedy, "says what it is", r"asks for \['images'\]"),
        (Mislabelled, "presets are settings", "names no source"),
        (Careless, "names what it lacks", "raises AssertionError"),
        (Unasked, "runs on what it asks for, undefended", "needs 'bodies'"),
        (Restless, "the seed decides", "another answer"),
        (Numb, "runs on what it asks for, undefended", "nan..nan"),
        (Cheat, "nothing seen is nothing told", "has seen the victims elsewhere"),
    ],
)
def test_who_breaks_a_rule_is_found_out(kind: type[Attack], rule: str, words: str) -> None:
    for one in attack_rules(kind):
        if one.name == rule:
            with pytest.raises(Exception, match=words):
                one.check()
        elif kind in (Mislabelled, Careless):
            one.check()  # the others hold


def test_rules_and_sweeps_grant_the_same_fields() -> None:
    assert set(GRANTS) == GRANTED


def test_who_keeps_them_passes() -> None:
    assert len(attack_rules(Fair)) == 6
    for one in attack_rules(Fair):
        one.check()


class Sure(Attack):
    """Whoever the network is sure of is a member: an attack on other sights and another kind."""

    name: ClassVar[str] = "sure"
    source: ClassVar[str] = "Salem et al. 2019, ML-Leaks, section 5"
    sees: ClassVar[tuple[type, ...]] = (Scores, Features)
    estimates: ClassVar[Any] = MEMBERSHIP
    asks: ClassVar[Mapping[str, frozenset[str]]] = {"undefended": frozenset()}

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del threat, rng, work
        return lambda scores, _: Estimate(scores.scores.log_softmax(1).amax(1))


def test_an_attack_on_membership_is_held_to_them_too() -> None:
    for one in attack_rules(Sure):
        one.check()


class AsksWhoIsSure(Sure):
    """Has the network's own answers to its images beside those to the victims."""

    name: ClassVar[str] = "asks-who-is-sure"
    sees: ClassVar[tuple[type, ...]] = (Scores,)
    answers: ClassVar[Any] = "probabilities"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"oracle"}),
        "adaptive": frozenset({"oracle", "labels"}),
    }

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        del rng, work
        own = threat.need("oracle", self.name)(threat.need("aux").images.floats("cpu"))
        assert torch.allclose(own.sum(1), torch.ones(len(own)))

        def estimate(seen: Scores) -> Estimate:
            assert seen.answers == "probabilities"
            LABELS.append(seen.labels)
            return Estimate(seen.scores.amax(1) - own.amax(1).mean())

        return estimate


LABELS: list[torch.Tensor | None] = []


def test_an_oracle_answers_as_an_attack_says_and_who_asks_for_no_class_is_told_none() -> None:
    LABELS.clear()
    for one in attack_rules(AsksWhoIsSure):
        one.check()
        if one.name == "runs on what it asks for, undefended":
            assert LABELS == [None]
        if one.name == "runs on what it asks for, adaptive":
            assert LABELS[-1] is not None
