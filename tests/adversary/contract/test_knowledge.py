"""What is not granted is not used; what is granted is not changed; knowing a defence helps."""

from typing import ClassVar

import pytest
import torch
from worlds import INPUT, VICTIMS, Orthogonal, capture, outcome, quality, threat, tiny_head

from adversary.contract.attack import Attack, run_attack
from adversary.contract.threat import ThreatModel
from adversary.inversion.decoder import Decoder
from adversary.inversion.mean_image import MeanImage
from adversary.inversion.rmle.attack import RMLE
from splitlab.contracts import Estimate, Features
from splitlab.errors import BadInput, Mismatch, MissingKnowledge, SplitLabError, UnknownName
from splitlab.randomness import generator


@pytest.mark.parametrize(
    ("attack", "field"), [(Decoder(), "aux"), (RMLE(), "head"), (MeanImage(), "aux")]
)
def test_what_is_not_granted_is_named(attack, field):
    with pytest.raises(MissingKnowledge, match=f"'{field}'"):
        outcome(attack, ThreatModel(input=INPUT), torch.zeros(1, 3, 4, 4))


def test_a_decoder_with_images_alone_names_the_head():
    model = ThreatModel(input=INPUT, aux=threat(Orthogonal("map"), known="unaware").aux)
    with pytest.raises(MissingKnowledge, match="'head'"):
        outcome(Decoder(), model, torch.zeros(1, 48, 4, 4))


@pytest.mark.parametrize("defense", ["dropout:level=0.5", "gaussian:level=1"])
def test_a_decoder_that_knows_the_defence_beats_one_that_does_not(defense):
    head = tiny_head("block2")
    seen = capture(head, defense)
    attack = Decoder(epochs=1, width=16)
    unaware, adaptive, queries = (
        quality(outcome(attack, threat(head, defense, known=k), seen))
        for k in ("unaware", "adaptive", "queries")
    )
    assert adaptive > unaware + 1
    assert queries > unaware + 1


@pytest.mark.parametrize(
    "defense", ["dropout:level=0.5", pytest.param("laplace:level=1", marks=pytest.mark.slow)]
)
def test_rmle_that_knows_the_defence_beats_one_that_does_not(defense):
    head = tiny_head("block1")
    seen = capture(head, defense)
    attack = RMLE(start="mean", steps=100)
    unaware, adaptive = (
        quality(outcome(attack, threat(head, defense, known=k), seen))
        for k in ("unaware", "adaptive")
    )
    assert adaptive > unaware + 1


@pytest.mark.parametrize(
    "name", ["gaussian:level=2", pytest.param("dropout:level=0.3", marks=pytest.mark.slow)]
)
def test_granted_fixed_noise_is_undone(name):
    defense = f"{name},draw=fixed"
    head = tiny_head("block1")
    seen = capture(head, defense)
    attack = RMLE(start="mean", steps=100)
    adaptive, noise = (
        quality(outcome(attack, threat(head, defense, known=k), seen))
        for k in ("adaptive", "noise")
    )
    assert noise > adaptive + 3


class Trainer(MeanImage):
    name: ClassVar[str] = "trainer"

    def fit(self, threat, rng, work):
        next(threat.head.buffers()).add_(1)
        return super().fit(threat, rng, work)


class Loud(Attack):
    name: ClassVar[str] = "loud"
    source: ClassVar[str] = "a test"
    asks: ClassVar = {}

    def fit(self, threat, rng, work):  # noqa: ARG002
        return lambda seen: Estimate(2 * torch.ones(len(seen.ids), 3, 16, 16))


def test_an_attack_that_changes_what_it_was_granted_is_void():
    head = Orthogonal("map")
    before = head.matrix.clone()
    with pytest.raises(SplitLabError, match="changed what it was granted"):
        outcome(Trainer(), threat(head, known="unaware"), capture(head))
    assert torch.equal(head.matrix, before)


def test_answers_and_observations_are_checked():
    head = Orthogonal("map")
    model = threat(head, known="unaware")
    with pytest.raises(SplitLabError, match=r"images lie in \[0, 1\]"):
        outcome(Loud(), model, capture(head))
    with pytest.raises(Mismatch, match="the grant is for"):
        outcome(MeanImage(), model, torch.zeros(2, 7))
    with pytest.raises(Mismatch, match="one id a row"):
        run_attack(MeanImage(), model, Features(("a",), capture(head)), generator(0))


def test_effort_counts_what_was_asked_of_the_head():
    head = Orthogonal("map")
    model = threat(head, known="unaware")
    for rate, looked in ((1.0, 7), (None, 7 + 1)):  # L-BFGS looks at what it ends with once more
        attack = RMLE(start="mean", steps=7, choose_images=0, learning_rate=rate)
        done = outcome(attack, model, capture(head))
        assert done.effort["head_images"] == looked * len(VICTIMS)
    assert not model.head._forward_pre_hooks
    queried = outcome(Decoder(epochs=0), threat(head, known="queries"), capture(head))
    assert queried.effort["queries"] == 240
    assert queried.effort["head_images"] == 0


def test_settings_are_checked_and_presets_have_sources():
    preset = Decoder.configured({"preset": "he2019", "epochs": 2})
    assert (preset.epochs, preset.batch_size, preset.linear_start) == (2, 32, False)
    assert RMLE.configured({"preset": "he2019-relu22"}).tv == 10
    for kind in (Decoder, RMLE):
        for name, entry in kind.presets.items():
            assert entry.source
            kind.configured({"preset": name})
    with pytest.raises(UnknownName, match="he2019"):
        Decoder.configured({"preset": "he2091"})
    with pytest.raises(BadInput, match="its settings are"):
        RMLE.configured({"step": 3})
    with pytest.raises(BadInput, match="steps"):
        RMLE.configured({"steps": 0})
