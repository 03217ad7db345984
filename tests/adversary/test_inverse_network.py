"""The inverse network for every layout and every ratio of feature to image."""

import pytest
import torch
import torch.nn.functional as F

from adversary.parts.feature_map import FeatureMap, grid_of
from adversary.parts.inverse_network import InverseNetwork
from adversary.parts.linear_inverse import linear_inverse
from splitlab.contracts import FeatureSpec


def test_layouts_are_read_as_maps():
    maps = torch.rand(2, 5, 4, 4)
    tokens = maps.flatten(2).transpose(1, 2)
    with_class = torch.cat([torch.rand(2, 1, 5), tokens], 1)
    for feature, shape in (
        (maps, (5, 4, 4)),
        (maps.permute(0, 2, 3, 1), (4, 4, 5)),
        (tokens, (16, 5)),
        (with_class, (17, 5)),
    ):
        read = FeatureMap(FeatureSpec(shape=shape))
        assert read.shape == (5, 4, 4)
        assert torch.equal(read(feature), maps)
    vector = torch.rand(2, 30)
    assert FeatureMap(FeatureSpec(shape=(30,)))(vector).shape == (2, 30, 1, 1)
    assert FeatureMap(FeatureSpec(shape=(3, 10)))(vector.view(2, 3, 10)).shape == (2, 30, 1, 1)


@pytest.mark.parametrize(
    ("tokens", "wanted"),
    [(197, (1, 14)), (198, (2, 14)), (196, (0, 14)), (201, (5, 14)), (65, (1, 8)), (2, None)],
)
def test_class_tokens_are_told_from_patches(tokens, wanted):
    assert grid_of(tokens) == wanted


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((6, 32, 32), 32),
        ((6, 16, 16), 32),
        ((6, 64, 64), 32),
        ((6, 9, 9), 32),
        ((6, 4, 8), 32),
        ((6, 1, 1), 32),
        ((200, 2, 2), 32),
        ((7, 7, 12), 56),
        ((50, 12), 56),
        ((40,), 16),
        ((40,), 96),
        ((24, 7, 7), 224),
    ],
)
def test_every_shape_gives_an_image_and_a_linear_start(shape, size):
    g = torch.Generator().manual_seed(0)
    features = torch.rand(6, *shape, generator=g)
    images = torch.rand(6, 3, size, size, generator=g)
    net = InverseNetwork(FeatureSpec(shape=shape), size, width=8, depth=1)
    assert net(features).shape == images.shape
    assert torch.allclose(net(features), torch.full_like(images, 0.5))
    net.start_linear(features, images, g)
    answer = net(features)
    assert F.mse_loss(answer, images) < F.mse_loss(torch.full_like(images, 0.5), images) + 1e-3
    F.mse_loss(answer, images).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_closed_form_recovers_a_linear_map_and_ignores_noise():
    g = torch.Generator().manual_seed(1)
    maps = torch.randn(40, 4, 6, 6, generator=g)
    true = torch.randn(3, 4, 3, 3, generator=g)
    blocks = F.conv2d(maps, true, torch.tensor([1.0, 2.0, 3.0]), padding=1)
    exact = linear_inverse(maps, blocks, 3, 5_000, g)
    torch.testing.assert_close(exact.weight, true, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(exact.bias, torch.tensor([1.0, 2.0, 3.0]), atol=1e-4, rtol=1e-4)
    assert exact.error < 1e-6
    nothing = linear_inverse(maps, torch.randn(40, 3, 6, 6, generator=g), 3, 300, g)
    assert nothing.error < 1.3
    assert nothing.weight.abs().max() < 0.2
