"""SNGAN: the published sizes and names, and a chain of parts that is the generator."""

from __future__ import annotations

import pytest
import torch

from splitlab.errors import BadInput
from splitlab.models.sngan import SNGANDiscriminator, SNGANGenerator
from splitlab.randomness import generator


def test_the_published_generator_has_its_layers() -> None:
    with torch.device("meta"):
        net = SNGANGenerator(128, 1024)
    shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
    assert shapes["l1.weight"] == (16 * 1024, 128)
    assert shapes["block2.c1.weight"] == (1024, 1024, 3, 3)
    assert shapes["block3.c_sc.weight"] == (512, 1024, 1, 1)
    assert shapes["block6.b2.running_mean"] == (64,)
    assert shapes["b7.weight"] == (64,)
    assert shapes["c7.weight"] == (3, 64, 3, 3)
    assert not any(name.startswith("block7") for name in shapes)


@pytest.mark.parametrize(("size", "width", "parts"), [(32, 8, 5), (64, 16, 6), (128, 16, 7)])
def test_parts_are_the_generator_and_images_are_judged(size: int, width: int, parts: int) -> None:
    net = SNGANGenerator(size, width).eval()
    z = torch.randn(2, 128, generator=generator(0))
    with torch.no_grad():
        images = net(z)
        value = z
        for part in net.parts():
            value = part(value)
    assert len(net.parts()) == parts
    assert images.shape == (2, 3, size, size)
    assert torch.equal(value, images)
    assert float(images.abs().max()) <= 1
    assert SNGANDiscriminator(size, width)(images).shape == (2,)


def test_the_discriminator_is_bounded() -> None:
    net = SNGANDiscriminator(32, 8)
    one, two = torch.rand(2, 4, 3, 32, 32, generator=generator(1)).unbind()
    for _ in range(20):
        net(one)  # power iterations
    net.eval()
    for layer in net.modules():
        if hasattr(layer, "parametrizations"):
            assert float(torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)) < 1.2
    assert torch.isfinite(net(two)).all()


def test_sizes_and_widths_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadInput, match="32, 64, 128"):
        SNGANGenerator(48)
    with pytest.raises(BadInput, match="multiple of 16"):
        SNGANGenerator(128, 100)
