"""Attacks that no sweep runs keep the rules too: text in a small world of its own."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from adversary.contract.testing import attack_rules
from adversary.contract.testing.small_world import SmallWorld
from adversary.contract.threat import AuxSentences, Observed, ThreatModel
from adversary.registry import OF_EXPERIMENTS
from bench.point.sights.translating import TextHalves, answers
from defenses import parse
from splitlab.contracts import ArchSpec, Features
from splitlab.data.text.sentences import grammar_splits
from splitlab.data.text.tokens import Sentences
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.randomness import Secret
from splitlab.training.translator import fed

SIDE = 18
QUICK: dict[str, dict[str, Any]] = {
    "text-shadow": {"epochs": 1, "decoder_epochs": 1},
    "word-decoder": {"decoder_epochs": 1},
    "cipher": {"steps": 2},
}
DATA = grammar_splits(train=60, auxiliary=60, validation=6, victims=24)
SPEC = Seq2SeqSpec(
    source_words=len(DATA.english),
    target_words=len(DATA.german),
    source_length=SIDE,
    target_length=SIDE,
    width=16,
    heads=2,
    layers=1,
    feedforward=16,
    dropout=0.0,
)


class Shown(Sentences):
    """Sentences, each independent of the others."""

    @property
    def groups(self) -> torch.Tensor:
        return torch.arange(len(self))


def encoded(part: str) -> Shown:
    return Shown(**vars(DATA.encoded(part, SIDE, SIDE)))


@cache
def halves(defense: str) -> TextHalves:
    net, secret = Seq2Seq(SPEC, 0).eval().requires_grad_(False), Secret.new(3)
    return TextHalves(net, parse(defense).protectors(SPEC.feature_shape, secret), secret)


def features(defense: str, shown: Sentences) -> torch.Tensor:
    return answers(halves(defense), fed(shown.source, shown.target))


def granted(fields: frozenset[str], defense: str, *_more: Any) -> ThreatModel:
    served, own = halves(defense), encoded("auxiliary")
    assert fields <= {"bodies", "observe", "defense"}
    return ThreatModel(
        feature=served.feature,
        input=served.input,
        arch=ArchSpec(name="seq2seq", arguments=SPEC.model_dump(mode="json"), input=served.input),
        head_end="embeddings",
        tail_start="projection",
        bodies=nn.ModuleList([served.net.body]) if "bodies" in fields else None,
        defense=defense if "defense" in fields else None,
        observe=Observed(own, features(defense, own)) if "observe" in fields else None,
        sentences=AuxSentences(own, encoded("validation"), DATA.english, DATA.german),
    )


def seen(_kind: Any, shown: Any, defense: str, *_more: Any) -> Features:
    return Features(tuple(map(str, range(len(shown)))), features(defense, shown))


def world() -> SmallWorld:
    others: Any = Shown(**vars(DATA.encoded("train", SIDE, SIDE).first(24)))
    victims: Any = encoded("victims")
    return SmallWorld(granted, seen, victims, others, {"special": 4, "common": torch.tensor([4])})


RULES = [
    pytest.param(rule, id=f"{name}: {rule.name}")
    for name in OF_EXPERIMENTS
    for rule in attack_rules(OF_EXPERIMENTS.load(name), QUICK.get(name), world())
    if name in QUICK or rule.name in ("says what it is", "presets are settings")
]


@pytest.mark.parametrize("rule", RULES)
def test_an_attack_of_an_experiment_keeps_the_rule(rule: Any) -> None:
    rule.check()


def test_every_attack_on_text_is_tried_in_full() -> None:
    text = {n for n in OF_EXPERIMENTS if OF_EXPERIMENTS.load(n).estimates.name == "tokens"}
    assert text == set(QUICK)
    assert len(RULES) >= 6 * len(QUICK)
