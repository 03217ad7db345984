"""Which inverse a block without convolutions gets."""

import math

import pytest
import torch
from torch import nn

from adversary.inversion.dci.chain import Block
from adversary.inversion.dci.inverse_blocks import inverse_of, mirror
from splitlab.randomness import generator
from splitlab.split import cut

BEHIND = 4
"""Numbers that the blocks below answer with."""


def block(*layers, given):
    """Layers as a chain has them: a part that was cut from the middle of a network."""
    front = (nn.Flatten(), nn.Linear(48, math.prod(given)), nn.Unflatten(1, given))
    net = nn.Sequential(*front, *layers, nn.ReLU(), nn.LazyLinear(2))
    net(torch.zeros(2, 3, 4, 4))
    return cut(net.eval(), "2", str(2 + len(layers)), (3, 4, 4)).body


@pytest.mark.parametrize(
    ("layers", "given"),
    [
        ((nn.Linear(6, BEHIND),), (6,)),
        ((nn.Linear(6, BEHIND), nn.BatchNorm1d(BEHIND)), (6,)),
        ((nn.Linear(6, 5), nn.Dropout(), nn.Linear(5, BEHIND)), (6,)),
        ((nn.Flatten(), nn.Linear(3 * 4 * 4, BEHIND)), (3, 4, 4)),
    ],
)
@pytest.mark.parametrize("image", [True, False])
def test_the_inverse_of_a_linear_layer_is_one(layers, given, image):
    part = block(*layers, given=given)
    fed = torch.randn(2, *given, generator=generator(1))
    inverse = inverse_of(Block("b", part, given, (BEHIND,)), fed, image=image)
    weights = [m for m in inverse.modules() if any(True for _ in m.parameters(recurse=False))]
    assert [type(one) for one in weights] == [nn.Linear]
    a, b = torch.randn(2, 2, BEHIND, generator=generator(2))
    assert inverse(a).shape == fed.shape
    middle = inverse((a + b) / 2)
    assert torch.allclose(middle, (inverse(a) + inverse(b)) / 2, atol=1e-6)
    # what is never below 0 is never answered to be
    positive = inverse_of(Block("b", part, given, (BEHIND,)), fed.abs(), image=False)
    assert float(positive(a).detach().min()) >= 0


@pytest.mark.parametrize(
    ("layers", "given"),
    [
        ((nn.Linear(6, BEHIND), nn.ReLU()), (6,)),
        ((nn.Linear(6, BEHIND), nn.Tanh()), (6,)),
        ((nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, BEHIND)), (3, 4, 4)),
    ],
)
def test_behind_an_activation_or_pooling_there_is_more_to_it(layers, given):
    part = block(*layers, given=given)
    inverse = mirror(part, given, (BEHIND,), positive=False, image=False)
    assert sum(isinstance(m, nn.Linear | nn.Conv2d) for m in inverse.modules()) > 1


class Activated(nn.Module):
    """A linear layer whose activation is a function and no module."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, BEHIND)

    def forward(self, x):
        return torch.relu(self.layer(x)) * 2


def test_an_activation_that_is_a_function_counts_too():
    part = block(Activated(), given=(6,))
    inverse = mirror(part, (6,), (BEHIND,), positive=False, image=False)
    assert inverse.around is not None


@pytest.mark.parametrize(
    ("reads", "image", "last"),
    [
        (nn.Conv2d(3, 8, 7, stride=2, padding=3), True, 7),
        (nn.Conv2d(3, 8, 7, stride=2, padding=3), False, 3),
        (nn.Conv2d(3, 8, 3, padding=1), True, 3),
        (nn.Conv2d(3, 8, 5, stride=5), True, 3),  # patches
        (nn.Conv2d(3, 8, 4, stride=2, padding=1), True, 3),  # no middle
    ],
)
def test_the_image_s_inverse_ends_as_large_as_what_reads_it(reads, image, last):
    part = nn.Sequential(reads, nn.ReLU(), nn.Conv2d(8, 8, 9, padding=4))
    given = (3, 20, 20)
    made = tuple(part(torch.zeros(1, *given)).shape[1:])
    inverse = mirror(part, given, made, positive=not image, image=image)
    kernels = [m.kernel_size for m in inverse.main if isinstance(m, nn.Conv2d)]
    assert kernels[-1] == (last, last)
    assert set(kernels[:-1]) == {(3, 3)}
    assert inverse(torch.zeros(2, *made)).shape == (2, *given)
