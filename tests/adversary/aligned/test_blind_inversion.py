"""Pictures and head at once: features are explained, and the pictures come nearer to the truth."""

import pytest
import torch
from colour_worlds import VICTIMS, orthogonal, rows
from torch import nn
from torch.nn import functional as F
from worlds import INPUT, tiny_head

from adversary.inversion.aligned.blind_inversion import invert
from adversary.inversion.aligned.head import (
    LEAKS,
    SLOPE,
    Leaking,
    feature_error,
    learn_head,
    spread_of,
)
from adversary.inversion.aligned.principal_images import principal_images
from splitlab.contracts import ArchSpec

ARCH = ArchSpec(name="resnet8", classes=10, input=INPUT)
CPU = torch.device("cpu")
AROUND = 0.3
"""Of a random convolution's weights on the neighbours, beside the middle's."""


def unexplained(white):
    """Share of the victims' variance that no affine map of the colours of `white` gives."""
    known = torch.cat([rows(white), torch.ones(len(rows(white)), 1)], 1).double()
    pixels = rows(VICTIMS.floats()).double()
    left = pixels - known @ torch.linalg.lstsq(known, pixels).solution
    return float(left.square().sum() / (pixels - pixels.mean(0)).square().sum())


def world():
    """What a head that mixes neighbours in answers to the victims, and principal images of that."""
    head = tiny_head("relu", "resnet8")
    convolution = next(m for m in head.modules() if isinstance(m, nn.Conv2d))
    with torch.no_grad():
        convolution.weight.mul_(AROUND)[:, :, 1, 1] = orthogonal(16)
        features = head(VICTIMS.floats())
    return features, principal_images(features)


def started(features, white, epochs=60):
    return learn_head(ARCH, "relu", None, white, features, epochs=epochs, seed=1)


@pytest.mark.slow
def test_pictures_and_head_explain_the_features_and_come_nearer_to_the_truth():
    features, white = world()
    head = started(features, white)
    before = invert(head, white, features, size=16, epochs=0, seed=1)
    after = invert(head, white, features, size=16, epochs=120, seed=1)
    assert before.error > 0.02
    assert after.error < 0.2 * before.error
    assert unexplained(after.white) < 0.5 * unexplained(before.white)


def test_the_pictures_are_white_and_the_head_takes_them_as_they_are():
    features, white = world()
    found = invert(started(features, white, 4), white, features, size=16, epochs=4, seed=1)
    seen = rows(found.white)
    assert torch.allclose(seen.mean(0), torch.zeros(3), atol=1e-4)
    assert torch.allclose(seen.T @ seen / len(seen), torch.eye(3), atol=1e-3)
    with torch.no_grad():
        error = feature_error(found.head(found.white), features, spread_of(features))
    assert float(error) == pytest.approx(found.error, rel=1e-3)
    assert not any(p.requires_grad for p in found.head.parameters())
    assert not found.head.training


def test_without_epochs_white_pictures_stay_what_they_are():
    features, white = world()
    head = started(features, white, 2)
    found = invert(head, white, features, size=16, epochs=0, seed=1)
    assert torch.allclose(found.white, white, atol=1e-3)


@pytest.mark.parametrize("relu", [F.relu, torch.relu, nn.ReLU(), nn.ReLU(inplace=True)])
def test_relus_leak_inside_and_nowhere_else(relu):
    below = torch.tensor([-1.0, 2.0])
    with Leaking():
        assert torch.allclose(relu(below.clone()), torch.tensor([-SLOPE, 2.0]))
    assert torch.equal(relu(below.clone()), torch.tensor([0.0, 2.0]))


def test_a_dead_channel_is_woken_by_the_leak():
    weight = torch.tensor([-1.0], requires_grad=True)
    shown = torch.rand(64, generator=torch.Generator().manual_seed(1))
    loss = (torch.relu(weight * shown) - shown).square().mean()
    assert float(torch.autograd.grad(loss, weight)[0]) == 0
    with Leaking():
        loss = (torch.relu(weight * shown) - shown).square().mean()
    assert float(torch.autograd.grad(loss, weight)[0]) < 0
    assert 0 < LEAKS < 1
