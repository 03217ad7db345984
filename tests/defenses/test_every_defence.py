"""Every defence of the registry at a shallow and a deep cut keeps the rules that packages of
others are held to; and an adversary can model it.
"""

from itertools import product
from typing import ClassVar

import pytest
import torch
from small_orders import coloured, order

from adversary.contract.believed import believed, certain, loses_elements
from adversary.contract.threat import ThreatModel
from defenses import DEFENSES, parse
from defenses.gaussian import Gaussian
from defenses.parts.prepare import prepare
from defenses.parts.testing import defense_rules
from splitlab.contracts import Defense, FeatureSpec, Protector
from splitlab.randomness import generator
from splitlab.training import TrainRecipe

QUICK = {
    "ensembler": {"N": 3, "P": 2},
    "dropout-ensemble": {"N": 2},
    "shredder": {"epochs": 1},
}
"""Fields where the defaults would take long; every other defence as it comes."""
RULES = [
    pytest.param(rule, id=f"{name} at {point}: {rule.name}")
    for name, point in product(DEFENSES, ("block1.2", "block2"))
    for rule in defense_rules(DEFENSES.load(name), QUICK.get(name), point)
]


@pytest.mark.parametrize("rule", RULES)
def test_a_defence_keeps_the_rule(rule):
    rule.check()


class Halved(Protector):
    """Keeps the rules."""

    def forward(self, feature, draw):
        del draw
        return 0.5 * feature


class Careless(Protector):
    """Writes into what it is given."""

    def forward(self, feature, draw):
        del draw
        return feature.mul_(0.5)


class Mixed(Protector):
    """Tells one row by another."""

    def forward(self, feature, draw):
        del draw
        return feature + feature.mean(0)


class Free(Protector):
    """Draws from nobody's stream."""

    def forward(self, feature, draw):
        del draw
        return feature + torch.randn_like(feature)


class Drawn(Protector):
    """Draws afresh and does not say so."""

    def forward(self, feature, draw):
        return feature + draw.normal(feature, self.purpose)


class Narrow(Protector):
    def forward(self, feature, draw):
        del draw
        return feature[:, :1]


class Own(Defense):
    name: ClassVar[str] = "own"
    source: ClassVar[str] = "a test"
    acts: ClassVar[type] = Halved

    def protector(self, feature_shape, secret):
        del feature_shape, secret
        return self.acts()


class Nameless(Own):
    name: ClassVar[str] = "my own"


@pytest.mark.parametrize(
    ("acts", "rule", "words"),
    [
        (Careless, "the feature keeps its form", "wrote into"),
        (Narrow, "the feature keeps its form", "becomes"),
        (Mixed, "another batching changes nothing", "row by row"),
        (Free, "another batching changes nothing", "other bytes"),
        (Drawn, "it draws afresh where it says so", "stochastic is False"),
    ],
)
def test_who_breaks_a_rule_is_found_out(monkeypatch, acts, rule, words):
    monkeypatch.setattr(Own, "acts", acts)
    [one] = [one for one in defense_rules(Own) if one.name == rule]
    with pytest.raises(AssertionError, match=words):
        one.check()


def test_who_keeps_them_passes_and_a_name_has_to_be_typed():
    for one in (*defense_rules(Own), *defense_rules(Gaussian, {"level": 0.3})):
        one.check()
    with pytest.raises(AssertionError, match="cannot be typed"):
        defense_rules(Nameless)[0].check()


@pytest.fixture(scope="module")
def made():
    """name -> stack and halves behind the second block; made once."""
    kept = {}

    def get(name):
        if name not in kept:
            told = ",".join(f"{key}={value}" for key, value in QUICK.get(name, {}).items())
            stack = parse(
                f"{name}:{told}" + ("+gaussian:draw=fixed" if name == "ensembler" else "")
            )
            recipe = TrainRecipe(epochs=1, batch_size=16)
            wanted = order(head_end="block2", images=coloured(32), recipe=recipe)
            kept[name] = stack, prepare(stack, wanted)
        return kept[name]

    return get


@pytest.mark.parametrize("name", DEFENSES)
@pytest.mark.parametrize("knows", ["defence", "noise"])
def test_an_adversary_can_model_it(made, name, knows):
    """With the spec alone, and with the protectors: finite, of the feature's shape."""
    stack, halves = made(name)
    shape = halves.head.output_shape
    threat = ThreatModel(
        defense=stack.spec,
        feature=FeatureSpec(shape=shape),
        protectors=halves.protectors if knows == "noise" else None,
    )
    with torch.inference_mode():
        z = halves.head(coloured(8, seed=1).floats())
        for imitate in (believed(threat, shape), certain(threat)):
            seen = imitate(z, generator(0))
            assert seen.shape == z.shape
            assert seen.isfinite().all()
        if not len(halves.protectors):
            assert torch.equal(believed(threat, shape)(z, generator(0)), z)
    assert loses_elements(threat) == (name == "dropout" and knows == "defence")
