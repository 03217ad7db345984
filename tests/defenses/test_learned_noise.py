"""How a row comes by learned noise: keyed, of the fitted distribution, in the learned order."""

import pytest
import torch

from defenses.parts.learned_noise import LearnedNoise, perturb, resample
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator

SHAPE = (4, 16, 16)
SECRET = Secret.new(secret_seed=5)


def learned(sampling, draws=3):
    made = LearnedNoise(SHAPE, "both", sampling, draws, 1.0)
    g = generator(0, "learned")
    for name in ("noise", "factor"):
        buffer = made.get_buffer(name)
        buffer.copy_(torch.randn(buffer.shape, generator=g))
    return made


def test_perturb_scales_then_adds():
    z = torch.tensor([[2.0]])
    assert perturb(z, {"noise": torch.tensor([1.0])}).item() == 3
    assert perturb(z, {"factor": torch.tensor([0.5])}).item() == 3
    assert perturb(z, {"factor": torch.tensor([0.5]), "noise": torch.tensor([1.0])}).item() == 4


@pytest.mark.parametrize("sampling", ["distribution", "collection", "tensor", "prior"])
def test_before_anything_is_learned_nothing_is_added(sampling):
    made = LearnedNoise(SHAPE, "both", sampling, 3, 1.0)
    z = torch.rand(2, *SHAPE)
    same = torch.equal(made(z, FreeDraw(generator(0))), z)
    assert same == (sampling != "prior")


@pytest.mark.parametrize("sampling", ["distribution", "collection", "prior"])
def test_draws_follow_secret_request_and_row_whatever_the_batching(sampling):
    made = learned(sampling) if sampling != "prior" else LearnedNoise(SHAPE, "both", sampling, 3, 1)
    made.unit.fill_(2.0)
    z = torch.rand(8, *SHAPE)
    whole = made(z, KeyedDraw(SECRET, "a"))
    pieces = [made(z[:3], KeyedDraw(SECRET, "a", 0)), made(z[3:], KeyedDraw(SECRET, "a", 3))]
    assert torch.equal(whole, torch.cat(pieces))
    assert not torch.equal(whole, made(z, KeyedDraw(SECRET, "b")))


def test_a_collection_hands_out_each_of_its_tensors_and_nothing_else():
    made = learned("collection")
    added = made(torch.zeros(60, *SHAPE), FreeDraw(generator(1)))
    which = [[torch.equal(row, one) for one in made.noise].index(True) for row in added]
    assert {which.count(k) > 8 for k in range(3)} == {True}


def test_a_tensor_is_one_for_all():
    made = learned("tensor")
    added = made(torch.zeros(2, *SHAPE), FreeDraw(generator(1)))
    assert torch.equal(added[0], made.noise[0])
    assert torch.equal(added[1], made.noise[0])


def test_resampled_noise_keeps_the_order_and_the_fitted_distribution():
    """Rank by rank as learned; median and mean distance from it are those of the learned."""
    g = generator(2)
    tensors = 3 + torch.randn(2, *SHAPE, generator=g)
    place = torch.tensor([0, 1, 1])
    drawn = resample(tensors, place, torch.rand(3, *SHAPE, generator=g))
    for row, k in zip(drawn.flatten(1), place, strict=True):
        base = tensors[k].flatten()
        assert torch.equal(row.argsort(), base.argsort())
        assert row.median().item() == pytest.approx(base.median().item(), abs=0.1)
        spread = (base - base.median()).abs().mean().item()
        assert (row - row.median()).abs().mean().item() == pytest.approx(spread, rel=0.1)
    assert not torch.equal(drawn[1], drawn[2])
    flat = torch.full((1, 5), 2.0)
    assert torch.equal(resample(flat, torch.tensor([0]), torch.rand(1, 5)), flat)
