"""What is added to a head's features is read where a ReLU rests on it, and left where none does."""

import pytest
import torch

from adversary.inversion.aligned.fixed_noise import fixed_noise
from splitlab.randomness import generator
from splitlab.wire import decode, encode

SHAPE = (8, 16, 16)


def relu_features(count=60):
    return torch.randn(count, *SHAPE, generator=generator(1)).relu()


def tensor(number):
    return torch.randn(SHAPE, generator=generator(100 + number))


def test_a_fixed_tensor_behind_a_relu_is_read_exactly():
    features = relu_features()
    read = fixed_noise(features + tensor(0))
    assert torch.equal(read.tensors, tensor(0).unsqueeze(0))
    assert read.share == pytest.approx(1)
    assert torch.allclose(read.remove(features + tensor(0)), features, atol=1e-6)
    assert torch.allclose(read.add(features), features + tensor(0))


def test_where_nothing_is_added_nothing_is_taken_away():
    read = fixed_noise(relu_features())
    assert torch.equal(read.remove(relu_features()), relu_features())


@pytest.mark.parametrize("wire", ["FP16", "FP32"])
def test_a_fixed_tensor_is_read_through_the_wire(wire):
    read = fixed_noise(decode(encode(relu_features() + 0.1 * tensor(0), wire)))
    assert torch.allclose(read.tensors, 0.1 * tensor(0).unsqueeze(0), atol=3e-4)
    assert read.share == pytest.approx(1)


def test_where_no_value_comes_back_nothing_is_read():
    smooth = torch.randn(60, *SHAPE, generator=generator(1))
    fresh = relu_features() + torch.randn(60, *SHAPE, generator=generator(2))
    for features in (smooth, fresh):
        read = fixed_noise(features)
        assert read.share < 0.05
        left = read.remove(features) == features
        assert left.float().mean() > 0.95


def test_an_element_that_is_never_0_is_left_alone():
    features = relu_features()
    features[:, 0, 0, 0] = torch.linspace(1, 5, len(features))
    read = fixed_noise(features + tensor(0))
    assert read.tensors[0, 0, 0, 0] == 0
    assert torch.equal(read.tensors.flatten()[1:], tensor(0).flatten()[1:])
    assert read.share == pytest.approx(2047 / 2048)


def test_several_tensors_are_told_apart():
    """A client that has three and takes one a request, the first most often."""
    features = relu_features(120)
    owner = torch.tensor([0, 1, 2, 0] * 30)
    added = torch.stack([tensor(number) for number in range(3)])
    sent = features + added[owner]
    read = fixed_noise(sent)
    assert len(read.tensors) == 3
    assert torch.allclose(read.tensors[0], added[0], atol=1e-6)
    assert torch.allclose(read.remove(sent), features, atol=1e-2)
    found = read.owners(sent)
    assert torch.equal(found == 0, owner == 0)
    assert len(set(zip(found.tolist(), owner.tolist(), strict=True))) == 3
