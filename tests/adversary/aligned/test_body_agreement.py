"""How two sets of bodies' answers are compared, in closed form."""

import pytest
import torch
from torch import nn

from adversary.inversion.aligned.body_agreement import (
    answers,
    answers_apart,
    frechet,
)
from splitlab.randomness import generator


def standard(count, numbers, seed):
    """Rows whose mean is exactly 0 and whose covariance is exactly I."""
    random = torch.randn(count, numbers, generator=generator(seed)).double()
    centred = random - random.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(centred.T))
    return centred @ vectors @ torch.diag(values.rsqrt()) @ vectors.T


def test_frechet_of_diagonal_normals_has_a_closed_form():
    first, second = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([3.0, 0.1, 0.5])
    shift = torch.tensor([1.0, -2.0, 0.0])
    a, b = standard(50, 3, 1) * first, standard(80, 3, 2) * second + shift
    expected = float((first - second).square().sum() + shift.square().sum())
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_equal_sets_is_0():
    a = torch.randn(40, 5, generator=generator(1))
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a.flip(0)) == pytest.approx(0, abs=1e-9)


def test_answers_are_averaged_over_places():
    features = torch.randn(5, 3, 4, 4, generator=generator(1))
    assert torch.allclose(answers(nn.Identity(), features), features.mean((2, 3)), atol=1e-6)
    assert torch.equal(answers(nn.Flatten(), features), features.flatten(1))


def test_answers_apart_are_shares_of_the_captured_variance():
    a, b = standard(50, 3, 1), standard(80, 3, 2) + torch.tensor([3.0, 0.0, 0.0])
    assert answers_apart([a], [b]) == pytest.approx(9 / 3, rel=1e-6)
    assert answers_apart([7 * a], [7 * b]) == pytest.approx(9 / 3, rel=1e-6)
    assert answers_apart([a, a], [a, b]) == pytest.approx(9 / 6, rel=1e-6)
