"""Random head: the client's part as it is before training, the rest as it is after."""

import pytest
import torch
from small_orders import equal, order, prepared, tensors

from splitlab.models import build
from splitlab.randomness import FreeDraw, Secret, generator
from splitlab.split import cut


@pytest.fixture(scope="module")
def pair():
    return prepared("none"), prepared("random-head")


def test_only_the_head_is_another(pair):
    plain, made = pair
    assert not equal(tensors(made.head), tensors(plain.head))
    assert equal(tensors(made.bodies[0]), tensors(plain.bodies[0]))
    assert equal(tensors(made.tail), tensors(plain.tail))
    assert made.head.output_shape == plain.head.output_shape


def test_it_is_untrained(pair):
    """Batch norms at their start; weights of an initialisation's size that no seed gives."""
    _, made = pair
    blank = cut(build(order().arch, seed=0), "block1", "pool", (3, 16, 16)).head
    parameters = dict(made.head.named_parameters())
    for name, value in tensors(blank).items():
        mine = tensors(made.head)[name]
        if name in parameters and value.ndim > 1:
            assert not torch.equal(mine, value), name
            assert torch.equal(mine.flatten().sort().values, value.flatten().sort().values)
        else:
            assert torch.equal(mine, value), name
    assert not any(m.training for m in made.head.modules())


def test_the_accuracy_is_gone(pair):
    plain, made = pair
    images, draw = order().images, FreeDraw(generator(0))
    with torch.inference_mode():
        before, after = (
            (h.logits(images.floats(), draw).argmax(1) == images.labels).float().mean().item()
            for h in (plain, made)
        )
    assert before > 0.95
    assert after < 0.8


def test_the_secret_and_never_the_seed_gives_the_weights(pair):
    """Two secrets under one seed: two heads. One secret under two seeds: one head."""
    _, made = pair
    other = prepared("random-head", secret=Secret.new(secret_seed=2))
    assert not equal(tensors(made.head), tensors(other.head))
    assert equal(tensors(made.head), tensors(prepared("random-head", seed=5).head))
