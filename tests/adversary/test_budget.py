"""Budgets on large images: counted, deterministic, told, and nothing to small ones."""

import pytest
import torch

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.inversion.decoder import Decoder
from adversary.inversion.rmle.attack import CHOOSE_IMAGES, CHOOSE_STEPS, RMLE, STEPS
from adversary.parts.budget import (
    LEARNED_PIXELS,
    LEAST_STEPS,
    LEAST_TRIAL_STEPS,
    answered_together,
    descent_steps,
    learned_passes,
)
from splitlab.contracts import Features, InputSpec
from splitlab.data import ImageSet


@pytest.mark.parametrize("size", [16, 32, 64])
def test_small_images_are_attacked_in_full(size):
    assert descent_steps(300, 40, size) == 300
    assert learned_passes(3, 2000, size) == (3, 2000)
    assert RMLE().effort(size) == (STEPS, CHOOSE_IMAGES, CHOOSE_STEPS)
    every = Decoder().passes(2000, size)
    assert every.rows == 2000
    assert Decoder().cycles(size) > 1


@pytest.mark.parametrize(("size", "steps", "trial"), [(96, 133, 44), (128, 80, 25), (224, 80, 15)])
def test_large_ones_by_their_pixels(size, steps, trial):
    assert descent_steps(300, LEAST_STEPS, size) == steps
    assert descent_steps(100, LEAST_TRIAL_STEPS, size) == trial
    found = RMLE().effort(size)
    assert found.steps == descent_steps(STEPS, LEAST_STEPS, size) < STEPS
    assert found.choose_steps == descent_steps(CHOOSE_STEPS, LEAST_TRIAL_STEPS, size)
    assert found.choose_images == 1
    given = RMLE(steps=500, choose_steps=60, choose_images=4)
    assert given.effort(size) == (500, 4, 60)
    assert RMLE(steps=STEPS).effort(size).steps == STEPS, "what is given is done, default or not"
    assert Decoder().cycles(size) == 1


def test_what_a_point_says_of_itself_is_cut_as_its_attack_is():
    """A point says every setting, and what nobody gave stays open to the budget."""
    for attack in (RMLE(), Decoder()):
        said = type(attack).configured(attack.model_dump(mode="json"))
        if isinstance(said, RMLE):
            assert said.effort(128) == attack.effort(128)
        else:
            assert said.passes(1000, 128) == attack.passes(1000, 128)


@pytest.mark.parametrize(("rows", "wanted"), [(60, (3, 60)), (90, (2, 90)), (2000, (1, 199))])
def test_fewer_epochs_and_then_fewer_pairs(rows, wanted):
    assert learned_passes(3, rows, 224) == wanted
    epochs, kept = wanted
    assert epochs * kept * 224**2 <= LEARNED_PIXELS
    assert learned_passes(0, rows, 224).epochs == 0


def test_features_are_inverted_in_pieces_of_equally_many_pixels():
    assert [answered_together(size) for size in (16, 64)] == [250, 250]
    assert [answered_together(size) for size in (128, 224, 10_000)] == [62, 20, 1]


def test_large_answers_in_pieces_are_those_of_all_at_once(monkeypatch):
    own = images(6, 128)
    head = torch.nn.AvgPool2d(8)
    aux = AuxImages(own, own.take(2), "same distribution")
    threat = ThreatModel(name="x", head=head, input=InputSpec(size=128), aux=aux)
    features = head(own.floats("cpu"))
    told = {}
    for together in (2, 250):
        monkeypatch.setattr(
            "adversary.inversion.decoder.answered_together", lambda _, n=together: n
        )
        found = Decoder(width=4, depth=0, epochs=1).fit(threat, torch.Generator().manual_seed(1))
        told[together] = found(Features(tuple("abcdef"), features)).values
    assert torch.allclose(told[2], told[250], atol=1e-5)


def images(count, size):
    pixels = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)
    return ImageSet(pixels, torch.zeros(count, dtype=torch.int64), ("a",), torch.arange(count))


@pytest.mark.parametrize(("size", "cut"), [(32, False), (128, True)])
def test_what_was_cut_is_told(size, cut, monkeypatch):
    monkeypatch.setattr("adversary.parts.budget.LEARNED_PIXELS", 4 * 128**2)
    own = images(6, size)
    head = torch.nn.AvgPool2d(8)
    threat = ThreatModel(
        name="undefended",
        head=head,
        input=InputSpec(size=size),
        aux=AuxImages(own, own.take(2), "same distribution"),
    )
    seen = Features(("a", "b"), head(own.floats("cpu")[:2]))
    monkeypatch.setattr("adversary.inversion.decoder.STEPS", 4)
    quick = {"start": "mean", "tv": 0.0, "learning_rate": 1.0}
    for attack in (RMLE(**quick), Decoder(width=4, depth=0)):
        estimate = attack.fit(threat, torch.Generator())(seen)
        told = [doubt for doubt in estimate.doubts if "cut to a budget" in doubt]
        assert (len(told), "budget" in estimate.extra) == (cut, cut)
        assert not cut or f"{size} px" in told[0]
