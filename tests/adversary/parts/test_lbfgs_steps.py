"""L-BFGS step by step: what is refused, how it is shortened, and what is forgotten."""

import pytest
import torch

from adversary.parts.lbfgs import CURVED, ENOUGH, REFUSED, _Memory, minimise


def halves(values):
    """loss [B] of rows [B, N]: curvature 1, least at 0."""
    return 0.5 * values.square().sum(1)


def doubles(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def watched(loss):
    asked = []

    def told(values):
        asked.append(values.detach().clone())
        return loss(values)

    return told, asked


@pytest.mark.parametrize(("share", "taken"), [(0.5, False), (2.0, True)])
def test_a_fall_of_less_than_a_share_of_what_the_slope_promises_is_refused(share, taken):
    """From 1/2 + e to -1/2 + e: the loss falls by e, and slope and step promise 1/2 + e."""
    e = share * ENOUGH / 2
    start = doubles([0.5 + e])
    found = minimise(halves, start, 2)
    wanted = start - 1 if taken else start
    torch.testing.assert_close(found.values, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("start", "tried"), [(0.3, 0.0), (0.05, -0.05), (0.45, 0.0)])
def test_a_refused_step_shrinks_to_the_least_of_a_parabola(start, tried):
    """Of length 1 at first; to no less than a tenth of it."""
    loss, asked = watched(halves)
    minimise(loss, doubles([start]), 3)
    places = [one.item() for one in asked]
    assert places == pytest.approx([start, start - 1, tried], abs=1e-12)


def test_a_refused_step_shrinks_to_half_at_least():
    """Refused for the share alone: a parabola would nearly keep its length."""
    loss, asked = watched(lambda values: -values[:, 0] * (values[:, 0] < 0.9))
    minimise(loss, doubles([0.0]), 3)
    assert [one.item() for one in asked] == pytest.approx([0.0, 1.0, 0.5])


@pytest.mark.parametrize(
    ("along", "counts"), [(0.1 * CURVED, False), (0.0, False), (-1.0, False), (10 * CURVED, True)]
)
def test_a_pair_of_hardly_any_curvature_is_not_remembered(along, counts):
    slope = doubles([1.0, 1.0])
    memory = _Memory(doubles(0.25), slope)
    memory.add(doubles([along, 1.0]), doubles([1.0, 0.0]), torch.tensor([True]))
    steepest = memory.direction(slope).tolist() == [[-0.25, -0.25]]
    assert steepest != counts


@pytest.mark.parametrize("climbs", [1.0, 0.0])
def test_a_direction_that_does_not_fall_gives_way_to_steepest_descent(climbs, monkeypatch):
    monkeypatch.setattr(_Memory, "direction", lambda _, slope: climbs * slope)
    found = minimise(halves, doubles([3.0, 4.0]), 12)
    assert found.losses.item() < 1e-12


def test_a_row_refused_many_times_forgets_and_tries_steepest_descent(monkeypatch):
    """Its memory says to go far too far; its neighbour's is right and is kept.

    From 2 to 1 at first; after `REFUSED` refusals steepest descent by the curvature of 1 hits.
    """
    plain, pairs = _Memory.direction, []

    def far(self, slope):
        remembers = self._per.abs().sum(0) > 0
        pairs.append(int((self._per[:, 0] != 0).sum()))
        remembers &= torch.arange(len(slope)) == 0
        return plain(self, slope) * (1 + 1e30 * remembers)[:, None]

    monkeypatch.setattr(_Memory, "direction", far)
    curves = doubles([1.0, 1.0], [1.0, 50.0])
    start = doubles([2.0, 0.0], [1.0, 1.0])

    def loss(values):
        return 0.5 * (curves[: len(values)] * values.square()).sum(1)

    before = minimise(loss, start, 2 + REFUSED)
    assert before.values[0].tolist() == [1.0, 0.0]
    after = minimise(loss, start, 2 + REFUSED + 1)
    assert after.losses[0].item() == 0.0
    assert pairs[-1] == 1, "the one since"
    monkeypatch.setattr(_Memory, "direction", plain)
    alone = minimise(lambda v: 0.5 * (curves[1:] * v.square()).sum(1), start[1:], 3 + REFUSED)
    torch.testing.assert_close(after.values[1:], alone.values, rtol=0, atol=1e-12)


def test_after_that_steps_go_on_shrinking():
    """A least so near that more than `REFUSED` refusals lie before it is reached all the same."""
    near = 1e-12

    def narrow(values):  # beyond it lies nothing
        x = values[:, 0]
        return torch.where(x < -near, torch.full_like(x, float("nan")), x)

    found = minimise(narrow, doubles([0.0]), 3 * REFUSED)
    assert -near <= found.values.item() < 0


@pytest.mark.parametrize("evaluations", [20, 50])
def test_earlier_is_the_loss_before_the_last_tenth_of_the_evaluations(evaluations):
    met = []

    def loss(values):
        x, y = values[:, 0], values[:, 1]
        found = (1 - x).square() + 100 * (y - x.square()).square()
        met.append(found.item())
        return found

    found = minimise(loss, doubles([-1.2, 1.0]), evaluations)
    assert len(met) == evaluations
    before = evaluations - 1 - evaluations // 10
    assert found.earlier.item() == min(met[:before])
    assert found.earlier.item() > min(met[: before + 2]), "or the test tells nothing"
