"""A threat model holds copies of its own, names what it lacks, and notices every change."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
import typer
from tables import distinct
from torch import nn

from adversary.contract.oracle import Oracle
from adversary.contract.threat import MODULES, AuxImages, AuxSentences, Observed, ThreatModel
from bench.cli import app
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import SPECIAL, Vocabulary
from splitlab.errors import BadInput, MissingKnowledge

IMAGES, HELD_OUT = distinct(4, 1), distinct(3, 2)
WORDS = Vocabulary((*SPECIAL, "word"))
FIELDS = [f.name for f in dataclasses.fields(ThreatModel)]
GRANT = typer.main.get_command(app).commands["grant"]
THERE = {flag for one in GRANT.params for flag in one.opts}
FLAGS = {name: [f"--{name}"] for name in FIELDS if f"--{name}" in THERE}
FLAGS |= {"protectors": ["--noise"]}
ALWAYS = {"feature", "input", "wire", "arch", "head_end", "tail_start"}


def layer(value: float = 1.0) -> nn.Module:
    made = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    with torch.no_grad():
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.fill_(value)
    return made


class Fixed(nn.Module):
    """Noise that no state dict shows."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.register_buffer("noise", torch.full((2,), value), persistent=False)


def text(rows: int) -> Sentences:
    return Sentences(torch.full((rows, 3), 4), torch.full((rows, 2), 4))


def full(**changes: Any) -> ThreatModel:
    fields: dict[str, Any] = {
        "name": "all",
        "feature": FeatureSpec(shape=(2, 4, 4)),
        "input": InputSpec(size=16),
        "wire": "FP32",
        "arch": ArchSpec(name="tiny_cnn"),
        "head_end": "a",
        "tail_start": "b",
        "head": layer(1),
        "bodies": nn.ModuleList([layer(2), layer(3)]),
        "tail": layer(4),
        "defense": "none",
        "protectors": nn.ModuleList([Fixed(5)]),
        "selector": (0,),
        "P": 1,
        "bn_stats": {"mean": torch.ones(2)},
        "aux": AuxImages(IMAGES, HELD_OUT, "public"),
        "sentences": AuxSentences(text(4), text(3), WORDS, WORDS),
        "observe": Observed(IMAGES, torch.zeros(4, 2, 4, 4)),
        "oracle": Oracle(lambda images: images.flatten(1)),
        "capture": torch.zeros(5, 2, 4, 4),
    }
    return ThreatModel(**{**fields, **changes})


def test_nothing_is_granted_by_itself() -> None:
    assert ThreatModel().granted() == ()
    assert full().granted() == tuple(FIELDS)


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "name"])
def test_what_is_missing_is_named_and_what_is_there_is_given(field: str) -> None:
    threat = full()
    assert threat.need(field) is getattr(threat, field)
    without = full(**{field: None})
    assert field not in without.granted()
    with pytest.raises(MissingKnowledge, match=f"the attack needs '{field}'") as raised:
        without.need(field)
    assert raised.value.field == field
    named = re.findall(r"`bench grant \.\.\. (--[\w-]+)`", str(raised.value))
    assert named == FLAGS.get(field, [])
    assert named or "what the attack's `asks` names" in str(raised.value)
    assert set(named) <= THERE
    with pytest.raises(MissingKnowledge, match="rmle needs"):
        without.need(field, "rmle")


@pytest.mark.parametrize("name", MODULES)
def test_modules_are_frozen_copies_in_eval_mode(name: str) -> None:
    given = layer(2).train()
    threat = ThreatModel(**{name: nn.ModuleList([given])})
    mine = getattr(threat, name)
    assert all(not module.training for module in mine.modules())
    assert all(not p.requires_grad for p in mine.parameters())
    assert given.training
    assert all(p.requires_grad for p in given.parameters())
    with torch.no_grad():
        for parameter in given.parameters():
            parameter.fill_(9)
    assert all(float(p.max()) == 2 for p in mine.parameters())


def test_equal_grants_have_one_fingerprint() -> None:
    assert full().fingerprint() == full().fingerprint()
    assert ThreatModel().fingerprint() == ThreatModel().fingerprint()


def change(tensor: torch.Tensor) -> None:
    with torch.no_grad():
        tensor.view(-1)[0] += 1


@pytest.mark.parametrize(
    "tensor_of",
    [
        lambda t: t.head[0].weight,
        lambda t: t.head[1].running_mean,
        lambda t: t.bodies[1][0].bias,
        lambda t: t.tail[0].weight,
        lambda t: t.protectors[0].noise,
        lambda t: t.capture,
        lambda t: t.bn_stats["mean"],
        lambda t: t.observe.features,
        lambda t: t.observe.images.images,
        lambda t: t.aux.images.images,
        lambda t: t.aux.validation.images,
        lambda t: t.sentences.sentences.source,
        lambda t: t.sentences.validation.target,
    ],
)
def test_a_change_of_anything_granted_changes_the_fingerprint(tensor_of: Any) -> None:
    own = {"aux": AuxImages(distinct(4, 3), distinct(3, 4), "public")}
    own["observe"] = Observed(distinct(4, 5), torch.zeros(4, 2, 4, 4))  # type: ignore[assignment]
    threat = full(**own)
    before = threat.fingerprint()
    change(tensor_of(threat))
    assert threat.fingerprint() != before


@pytest.mark.parametrize("name", MODULES)
def test_leaving_eval_mode_changes_the_fingerprint(name: str) -> None:
    threat = full()
    before = threat.fingerprint()
    getattr(threat, name).train()
    assert threat.fingerprint() != before


def test_two_fields_do_not_stand_for_each_other() -> None:
    """The same tensor granted as another field is another grant."""
    same = torch.ones(4, 2, 4, 4)
    one, other = ThreatModel(capture=same), ThreatModel(bn_stats={"w": same})
    assert one.fingerprint() != other.fingerprint()
    assert ThreatModel(head=layer()).fingerprint() != ThreatModel(tail=layer()).fingerprint()


def test_queries_and_answers_are_as_many() -> None:
    with pytest.raises(BadInput, match="4 queried images and 3 features"):
        Observed(IMAGES, torch.zeros(3, 2, 4, 4))


def test_images_say_what_they_are() -> None:
    real = AuxImages(IMAGES, HELD_OUT, "same distribution")
    assert (real.word, real.facts, real.layers) == ("real", {}, "")
    made = AuxImages(IMAGES, HELD_OUT, "synthetic", "head", {"seconds": 2.0})
    assert (made.word, made.facts) == ("synthetic", {"making": {"seconds": 2.0}})
    assert AuxImages(IMAGES, HELD_OUT, "public").word == "real"


@pytest.mark.parametrize("asked", [(), ("head", "noise"), ("observe", "oracle"), ("capture", "P")])
def test_who_asks_for_less_is_granted_less(asked: tuple[str, ...]) -> None:
    """What nobody has to ask for stays: own images, the cut, the architecture, batch norms."""
    names = {"noise": "protectors"}
    left = full().reduced(asked).granted()
    always = {*ALWAYS, "name", "bn_stats", "aux", "sentences"}
    assert set(left) == {*always, *(names.get(one, one) for one in asked)}


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ("logits", [[1.0, 3.0], [2.0, 2.0]]),
        ("probabilities", [[0.119203, 0.880797], [0.5, 0.5]]),
        ("label", [1, 0]),
    ],
)
def test_an_oracle_answers_as_it_says_and_counts(answers: Any, told: Any) -> None:
    oracle = Oracle(lambda images: images.flatten(1), answers)
    images = torch.tensor([[[[1.0, 3.0]]], [[[2.0, 2.0]]]], requires_grad=True)
    found = oracle(images)
    assert not found.requires_grad
    assert torch.allclose(found, torch.tensor(told))
    oracle(images[:1])
    assert oracle.queries == 3
