"""L-BFGS on many problems at once: minima that are known, and rows that do not touch each other."""

import pytest
import torch

from adversary.parts.lbfgs import HISTORY, minimise

N = 12
SPREADS = (1.0, 1e2, 1e4)
"""Largest over smallest curvature of each row's quadratic."""


def quadratics(spreads=SPREADS):
    """loss [B] of rows [B, N], each with its own curvatures and its own least at `goal`."""
    curves = torch.stack([torch.logspace(0, -float(torch.tensor(s).log10()), N) for s in spreads])
    goal = torch.randn(len(spreads), N, generator=torch.Generator().manual_seed(1))
    return (lambda values: 0.5 * (curves * (values - goal).square()).sum(1)), goal


def rosenbrock(values):
    x, y = values[:, 0], values[:, 1]
    return (1 - x).square() + 100 * (y - x.square()).square()


def test_quadratics_of_different_curvature_reach_the_least_that_adam_does_not():
    loss, goal = quadratics()
    start, evaluations = torch.zeros(len(SPREADS), N), 120
    found = minimise(loss, start, evaluations)
    torch.testing.assert_close(found.values, goal, atol=2e-3, rtol=0)
    assert (found.losses < 1e-7).all()
    values = start.clone().requires_grad_()
    adam = torch.optim.Adam([values], lr=0.1)
    for _ in range(evaluations):
        adam.zero_grad()
        loss(values).sum().backward()
        adam.step()
    assert (loss(values)[1:] > 10 * found.losses[1:].clamp_min(1e-9)).all()


def test_the_valley_of_rosenbrock_is_followed_to_its_end():
    start = torch.tensor([[-1.2, 1.0], [2.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    found = minimise(rosenbrock, start, 150)
    torch.testing.assert_close(found.values, torch.ones_like(start), atol=1e-4, rtol=0)


@pytest.mark.parametrize("evaluations", [15, 3 * HISTORY])
def test_a_row_alone_is_the_row_in_a_batch(evaluations):
    """Beyond what is remembered too, and beside rows that stand still or are refused steps."""
    draw = torch.Generator().manual_seed(2)
    start = 2 * torch.randn(4, 2, generator=draw, dtype=torch.float64)
    start[3] = 1.0  # has nowhere to go
    together = minimise(rosenbrock, start, evaluations)
    for row in range(len(start)):
        alone = minimise(rosenbrock, start[row : row + 1], evaluations)
        torch.testing.assert_close(together.values[row], alone.values[0], rtol=0, atol=1e-12)
        torch.testing.assert_close(together.losses[row], alone.losses[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("hole", [float("nan"), float("inf")])
def test_a_step_to_where_the_loss_is_no_number_is_refused(hole):
    """Right behind the least lies nothing; the row ends there; its neighbour notices nothing."""

    def loss(values):
        found = values[:, 0].square() * torch.tensor([1.0, 4.0])
        beyond = torch.stack([values[0, 0] < -0.01, torch.tensor(False)])
        return torch.where(beyond, torch.full_like(found, hole), found)

    start = torch.tensor([[1.0], [1.0]])
    found = minimise(loss, start, 40)
    assert found.losses.isfinite().all()
    assert (found.losses < 1e-6).all()
    other = minimise(lambda values: 4 * values[:, 0].square(), start[1:], 40)
    torch.testing.assert_close(found.values[1:], other.values)


def test_a_row_without_a_slope_is_blind_and_stays():
    start = torch.ones(2, 3)
    found = minimise(lambda v: (v * torch.tensor([[0.0], [1.0]])).square().sum(1), start, 20)
    assert found.blind.tolist() == [True, False]
    assert torch.equal(found.values[0], start[0])
    assert found.losses[1] < 1e-8


@pytest.mark.parametrize("allowed", [1, 2, 5])
def test_it_stops_where_it_is_told_to(allowed):
    """Each evaluation is told, the first among them, and so often the loss is asked for."""
    asked, told = [], []
    loss, _ = quadratics()

    def counted(values):
        asked.append(len(values))
        return loss(values)

    def goes_on():
        told.append(True)
        return len(told) < allowed

    minimise(counted, torch.zeros(len(SPREADS), N), 30, goes_on)
    assert (len(asked), len(told)) == (allowed, allowed)
    asked.clear()
    told.clear()
    minimise(counted, torch.zeros(len(SPREADS), N), 4, lambda: told.append(True) or True)
    assert (len(asked), len(told)) == (4, 4)


def test_the_least_that_was_met_is_returned_with_its_loss():
    met = []

    def watched(values):
        found = rosenbrock(values)
        met.append(found.detach())
        return found

    start = torch.tensor([[-1.2, 1.0], [0.5, -2.0]])
    found = minimise(watched, start, 25)
    assert torch.equal(found.losses, torch.stack(met).amin(0))
    assert torch.equal(rosenbrock(found.values), found.losses)
    assert (found.earlier >= found.losses).all()
    assert found.values.shape == start.shape


def test_a_step_that_raises_the_loss_is_not_taken_but_shortened():
    """The first is of length 1, ten times as far as the least lies from one of the rows."""
    curves = torch.tensor([100.0, 1.0])
    start, asked = torch.tensor([[0.1], [10.0]]), []

    def loss(values):
        asked.append(values.detach().clone())
        return curves * values[:, 0].square()

    found = minimise(loss, start, 2)
    assert asked[1].flatten().tolist() == pytest.approx([-0.9, 9.0])
    assert found.values.flatten().tolist() == pytest.approx([0.1, 9.0])
    minimise(loss, start, 3)
    tried = asked[-1][0].item()
    assert -0.9 < tried < 0.1, "shorter, along the same line"
    assert (minimise(loss, start, 12).losses < 1e-6).all()


def test_items_of_any_shape_are_minimised():
    goal = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    found = minimise(lambda v: (v - goal).square().flatten(1).sum(1), torch.zeros(2, 3, 4, 4), 12)
    torch.testing.assert_close(found.values, goal, atol=1e-4, rtol=0)
