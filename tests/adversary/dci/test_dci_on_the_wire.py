"""DCI on features as a codec and a defence leave them, with the defence known and unknown."""

import functools

import pytest
import torch
from test_dci import granted, schooling
from torch import nn
from worlds import VICTIMS, capture, images, outcome, quality, tiny_head

from adversary.contract.threat import AuxImages
from adversary.inversion.dci.attack import DCI
from adversary.inversion.dci.chain import Block
from adversary.inversion.dci.inverse_blocks import inverse_of
from adversary.inversion.dci.lessons import Lessons
from adversary.inversion.dci.training import divide_and_conquer
from adversary.inversion.mean_image import MeanImage
from defenses import parse
from splitlab.randomness import generator
from splitlab.wire.codec import roundtrip

POINT = "block2"
OWN = AuxImages(images(128, 1), images(4, 2), "synthetic", "head")
SETTINGS = {
    "data": "own",
    "images": 128,
    "epochs": 20,
    "tune_epochs": 10,
    "batch_size": 32,
    "learning_rate": 0.01,
    "tune_rate": 0.003,
}
STRONG = "gaussian:level=4"
"""The features themselves have a root mean square of 1.6."""


@functools.cache
def reconstructed(wire="FP32", defense="none", known=False):
    """What DCI makes of the victims' features."""
    return attacked(SETTINGS, wire, defense, known)


def attacked(settings, wire, defense, known, seed=0):
    told = {"defense": parse(defense).spec} if known else {}
    threat = granted(POINT, aux=OWN, wire=wire, **told)
    seen = roundtrip(capture(tiny_head(POINT), defense), wire)
    return outcome(DCI.configured(settings), threat, seen, seed)


@pytest.mark.parametrize(
    ("wire", "margin"),
    [
        pytest.param("FP16", 0.1, marks=pytest.mark.slow),
        pytest.param("BF16", 0.1, marks=pytest.mark.slow),
        ("INT8", 0.2),
    ],
)
def test_a_coarser_codec_hides_next_to_nothing(wire, margin):
    plain, coded = reconstructed(), reconstructed(wire)
    assert quality(plain) > 18
    assert abs(quality(coded) - quality(plain)) < margin
    # and it is another wire, with other values on it
    assert not torch.equal(coded.estimate.values, plain.estimate.values)


def test_who_knows_of_strong_noise_does_better_and_alone_beats_the_floor():
    floor = quality(outcome(MeanImage(), granted(POINT, aux=OWN), capture(tiny_head(POINT))))
    adaptive, unaware = (quality(reconstructed(defense=STRONG, known=k)) for k in (True, False))
    assert adaptive > floor + 1
    assert unaware < floor
    assert quality(reconstructed()) > adaptive + 3


def test_it_is_the_same_again_under_a_seed_and_another_under_another():
    short = SETTINGS | {"epochs": 1, "tune_epochs": 1}
    first, again, other = (
        attacked(short, "FP32", STRONG, True, seed).estimate.values for seed in (0, 0, 1)
    )
    assert torch.equal(again, first)
    assert not torch.equal(other, first)
    assert other.shape == VICTIMS.shape


@pytest.mark.parametrize("noise", [0.0, pytest.param(0.5, marks=pytest.mark.slow), 1.0])
def test_of_a_turned_normal_vector_in_noise_it_learns_wieners_answer(noise):
    """z^ = Q x + noise, x and the noise normal: the best inverse is Q' / (1 + noise^2)."""
    layer = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.linalg.qr(torch.randn(4, 4, generator=generator(1))).Q)
    blocks = [Block("b", layer.requires_grad_(False), (4,), (4,))]
    lessons = Lessons.of(
        blocks,
        torch.randn(2048, 4, generator=generator(9)),
        lambda z, rng: z + noise * torch.randn(z.shape, generator=rng),
    )
    torch.manual_seed(3)
    inverses = [inverse_of(blocks[0], lessons.kept[0], image=False)]
    taught = schooling(epochs=40, batch_size=256, rate=0.01)
    divide_and_conquer(inverses, lessons, taught, seed=1)
    with torch.no_grad():
        start = inverses[0](torch.zeros(1, 4))
        turned = inverses[0](layer(torch.eye(4))) - start
    wanted = torch.eye(4) / (1 + noise**2)
    assert float((turned - wanted).abs().max()) < (0.06 if noise else 1e-3)
