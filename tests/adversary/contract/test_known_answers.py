"""Attacks where the right answer is known, and where there is none."""

import pytest
import torch
from torch import nn
from worlds import AUX, VICTIMS, Orthogonal, capture, outcome, quality, threat, tiny_head

from adversary.inversion.decoder import Decoder
from adversary.inversion.mean_image import MeanImage
from adversary.inversion.rmle.attack import RMLE

LAYOUTS = ["map", "grid", "tokens"]


@pytest.mark.parametrize("known", ["queries", "unaware"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_decoder_finds_the_inverse_of_an_orthogonal_head(layout, known):
    head = Orthogonal(layout)
    done = outcome(Decoder(epochs=0), threat(head, known=known), capture(head))
    assert quality(done) > 50


@pytest.mark.slow
def test_decoder_without_a_linear_start_learns_from_nothing():
    """The network alone, trained by gradient descent, is far above the floor."""
    head = Orthogonal("map")
    model = threat(head, known="queries")
    attack = Decoder(epochs=12, batch_size=8, linear_start=False, width=16)
    floor = quality(outcome(MeanImage(), model, capture(head)))
    assert quality(outcome(attack, model, capture(head))) > floor + 6


def test_training_improves_on_the_linear_inverse_of_a_nonlinear_head():
    head = tiny_head("block2")
    model = threat(head, known="queries")
    linear = quality(outcome(Decoder(epochs=0), model, capture(head)))
    trained = quality(outcome(Decoder(epochs=4, width=32), model, capture(head)))
    assert trained > linear + 0.2


@pytest.mark.parametrize("rate", [None, 1])
@pytest.mark.parametrize(
    "layout", ["map", "vector", *(pytest.param(one, marks=pytest.mark.slow) for one in LAYOUTS[1:])]
)
def test_rmle_finds_the_inverse_of_an_orthogonal_head(layout, rate):
    """By L-BFGS and by Adam."""
    head = Orthogonal(layout)
    attack = RMLE(start="mean", tv=0, learning_rate=rate)
    done = outcome(attack, threat(head, known="unaware"), capture(head))
    assert quality(done) > 50
    assert not done.estimate.doubts


def test_identity_head():
    head = nn.Identity()
    model = threat(head, known="unaware")
    assert quality(outcome(RMLE(start="mean", steps=120), model, capture(head))) > 45
    assert quality(outcome(Decoder(epochs=0), model, capture(head))) > 45


def test_nothing_is_found_where_nothing_is_sent():
    """Features that do not depend on the images: no attack may beat the mean image."""
    head = tiny_head("block3")
    noise = torch.randn(capture(head).shape, generator=torch.Generator().manual_seed(0))
    model = threat(head, known="unaware")
    floor = quality(outcome(MeanImage(), model, noise))
    assert quality(outcome(RMLE(steps=60, choose_images=0), model, noise)) < floor
    answers = torch.randn(len(AUX.images), *noise.shape[1:])
    blind = threat(head, known="queries")
    blind.observe.features.copy_(answers)
    assert quality(outcome(Decoder(epochs=1), blind, noise)) < floor + 0.1


class Constant(nn.Module):
    def forward(self, x):
        return 0 * x[:, :, ::2, ::2] + 1


def test_a_head_that_sees_nothing_raises_a_doubt():
    done = outcome(
        RMLE(start="mean", steps=5, choose_images=0),
        threat(Constant(), known="unaware"),
        capture(Constant()),
    )
    assert any("zero gradient: 8 of 8" in doubt for doubt in done.estimate.doubts)


def test_a_descent_that_is_cut_short_raises_a_doubt():
    head = tiny_head("block3")
    model = threat(head, known="unaware")
    short = outcome(RMLE(start="mean", steps=20, learning_rate=0.1, tv=0), model, capture(head))
    assert any(doubt.startswith("truncated") for doubt in short.estimate.doubts)


def test_the_floor_answers_with_the_mean():
    head = nn.Identity()
    done = outcome(MeanImage(), threat(head, known="unaware"), capture(head))
    mean = AUX.images.floats().mean(0)
    for image in done.estimate.values:
        torch.testing.assert_close(image, mean)
    assert done.ids[3] == "request/3"
    assert len(VICTIMS) == len(done.ids)
