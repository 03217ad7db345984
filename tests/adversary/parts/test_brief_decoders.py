"""Decoders of shadows and substitutes: brief on small images, within the budget on large ones."""

import pytest
import shadow_worlds
import torch
from worlds import AUX, INPUT, outcome

from adversary.contract.threat import ThreatModel
from adversary.inversion import decoder
from adversary.inversion.decoder import BRIEF
from adversary.inversion.fora.attack import FORA
from adversary.inversion.shadow.attack import Shadow
from adversary.parts import budget
from adversary.parts.budget import Passes, learned_passes
from splitlab.contracts import ArchSpec, FeatureSpec

BOTH = pytest.mark.parametrize("attack", [Shadow, FORA])


@BOTH
def test_large_images_are_learned_within_the_budget(attack):
    inverse = attack()._decoder(224)
    assert inverse.passes(2000, 224) == (1, 199)
    assert inverse.passes(60, 224) == (3, 60)
    assert inverse.cycles(224) == 1
    assert inverse.passes(2000, 224) == learned_passes(BRIEF["epochs"], 2000, 224)


@BOTH
@pytest.mark.parametrize("size", [32, 64])
def test_small_ones_briefly_and_in_full(attack, size):
    inverse = attack()._decoder(size)
    assert inverse.passes(2000, size) == Passes(BRIEF["epochs"], 2000)
    assert inverse.cycles(size) == 1


@BOTH
@pytest.mark.parametrize("size", [32, 224])
def test_what_is_given_is_done_in_full(attack, size):
    assert attack(decoder_epochs=5)._decoder(size).passes(2000, size) == (5, 2000)
    he = attack(decoder="he")._decoder(size)
    assert he.passes(2000, size) == (decoder.HE2019["epochs"], 2000)


@pytest.mark.parametrize("size", [32, 224])
def test_a_shadow_s_decoder_weighs_no_likeness(size):
    assert Shadow()._decoder(size).ssim == 0.0


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("kind", ["shadow", "fora"])
def test_an_attack_asks_for_the_size_of_its_images(kind, large, monkeypatch):
    if large:
        for holder in (budget, decoder):
            monkeypatch.setattr(holder, "FULL_SIZE", INPUT.size - 1)
        monkeypatch.setattr(budget, "LEARNED_PIXELS", 10 * INPUT.size**2)
    if kind == "shadow":
        threat = shadow_worlds.granted()
        attack = Shadow(channels=8, epochs=0, bodies="0")
        seen = torch.zeros(2, *shadow_worlds.FEATURE.shape)
    else:
        seen = torch.rand(8, 8, 16, 16, generator=torch.Generator().manual_seed(1))
        threat = ThreatModel(
            name="undefended",
            feature=FeatureSpec(shape=tuple(seen.shape[1:])),
            input=INPUT,
            arch=ArchSpec(name="tiny_cnn", classes=3, input=INPUT),
            head_end="block1",
            wire="FP32",
            aux=AUX,
            capture=seen,
        )
        attack = FORA(substitutes=1, steps=1)
    found = outcome(attack, threat, seen).estimate
    told = found.extra["decoder"]
    cut = told.get("budget", {})
    assert (cut.get("epochs"), cut.get("pairs")) == ((1, 10) if large else (None, None))
    assert any("cut to a budget" in one for one in found.doubts) == large
    assert len(told["losses"]) == (1 if large else BRIEF["epochs"])
