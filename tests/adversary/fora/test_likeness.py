"""How far features are apart: known answers of the kernel distance and of the critic's slope."""

import math

import pytest
import torch
from torch import nn

from adversary.inversion.fora.likeness import (
    FeatureCritic,
    MapDistance,
    kernel_distance,
    steepness,
)
from splitlab.contracts import FeatureSpec
from splitlab.randomness import generator


def drawn(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, 3, 2, 2, generator=generator(seed)) + shift


def test_two_points_on_either_side_by_hand():
    """Squared distances 0 within and 4 across: their mean over the 12 ordered pairs is 8 / 3."""
    ours, theirs = torch.zeros(2, 1), torch.full((2, 1), 2.0)
    widths = [2.0**k for k in range(-3, 2)]
    across = sum(math.exp(-4 / (2 * width * 8 / 3)) for width in widths)
    assert float(kernel_distance(ours, theirs)) == pytest.approx(2 * 5 - 2 * across, rel=1e-5)


def test_of_one_distribution_the_distance_is_zero_on_average():
    """A biased estimate would be near 5 (1/16 + 1/16) = 0.6 times what the kernels lose."""
    found = torch.stack([kernel_distance(drawn(16, i), drawn(16, 100 + i)) for i in range(60)])
    spread = float(found.std()) / math.sqrt(60)
    assert abs(float(found.mean())) < 4 * spread
    assert spread < 0.01
    assert (found < 0).any()


def test_it_grows_with_the_shift_and_not_with_the_scale():
    near, far = (float(kernel_distance(drawn(32, 1), drawn(32, 2, s))) for s in (0.3, 1.0))
    assert 0.02 < near < far
    for scale in (1e-3, 1e3):
        scaled = float(kernel_distance(scale * drawn(32, 1), scale * drawn(32, 2, 1.0)))
        assert scaled == pytest.approx(far, rel=1e-3)


def test_sets_of_other_sizes_and_of_equal_rows_are_compared():
    assert math.isfinite(float(kernel_distance(drawn(5, 1), drawn(2, 2))))
    assert float(kernel_distance(torch.ones(3, 4), torch.ones(2, 4))) == pytest.approx(0, abs=1e-5)


def test_its_slope_leads_from_one_to_the_other():
    ours, theirs = drawn(16, 1).requires_grad_(), drawn(16, 2, 1.0)
    kernel_distance(ours, theirs).backward()
    assert ours.grad.isfinite().all()
    assert float(ours.grad.mean()) < 0
    same = torch.ones(4, 3, requires_grad=True)  # a root of a zero distance has no slope
    kernel_distance(same, torch.ones(4, 3)).backward()
    assert same.grad.isfinite().all()


def test_maps_are_compared_coarsely_too():
    """A shift of the mean under much noise: averages of 16 places tell it four times as well."""
    ours, theirs = (torch.randn(16, 2, 8, 8, generator=generator(i)) for i in (1, 2))
    theirs = theirs + 0.3
    shape = FeatureSpec(shape=(2, 8, 8))
    plain, both, small = (MapDistance(shape, side)(ours, theirs) for side in (1, 4, 16))
    assert torch.equal(plain, kernel_distance(ours, theirs))
    assert torch.equal(small, plain)  # no square of 16 fits into the map
    coarse = torch.nn.functional.avg_pool2d(ours, 4), torch.nn.functional.avg_pool2d(theirs, 4)
    torch.testing.assert_close(both, plain + kernel_distance(*coarse))
    assert both > 3 * plain
    vector = MapDistance(FeatureSpec(shape=(6,)), 4)
    assert torch.equal(
        vector(ours[:, 0, 0, :6], theirs[:, 0, 0, :6]),
        vector(ours[:, 0, 0, :6], theirs[:, 0, 0, :6]),
    )


class Plane(nn.Module):
    def forward(self, feature):
        return 3 * feature.flatten(1)[:, 0]


def test_a_slope_of_three_is_two_from_one():
    share = torch.rand(4, 1, 1, 1, generator=generator(0))
    assert float(steepness(Plane(), drawn(4, 1), drawn(4, 2), share)) == pytest.approx(4)


def test_the_slope_is_taken_between_the_features_and_teaches_the_critic():
    seen = []

    class Bowl(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, feature):
            seen.append(feature.detach())
            return self.weight * feature.flatten(1).square().sum(1) / 2

    bowl, share = Bowl(), torch.full((4, 1, 1, 1), 0.25)
    ours, theirs = drawn(4, 1), drawn(4, 2)
    found = steepness(bowl, ours, theirs, share)
    torch.testing.assert_close(seen[0], 0.25 * theirs + 0.75 * ours)
    lengths = seen[0].flatten(1).norm(dim=1)
    torch.testing.assert_close(found.detach(), (lengths - 1).square().mean())
    found.backward()
    torch.testing.assert_close(bowl.weight.grad, (2 * (lengths - 1) * lengths).mean())


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 32, 32), (7,), (8, 8, 5), (17, 12), (3, 2, 2)])
def test_a_critic_scores_any_feature_row_by_row(shape):
    captured = torch.randn(6, *shape, generator=generator(1))
    torch.manual_seed(0)
    critic = FeatureCritic(captured, width=4)
    scores = critic(captured)
    assert scores.shape == (6,)
    torch.testing.assert_close(critic(captured[2:3])[0], scores[2])
    assert len(scores.unique()) == 6


def test_a_critic_sees_the_same_whatever_the_scale():
    captured, ours = drawn(8, 1), drawn(8, 2, 0.5)
    scores = []
    for scale, shift in ((1.0, 0.0), (1e-3, 0.0), (50.0, 7.0)):
        torch.manual_seed(0)
        critic = FeatureCritic(scale * captured + shift, width=4)
        scores.append(critic(scale * ours + shift))
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(scores[0], scores[2], rtol=1e-3, atol=1e-4)


def test_a_channel_that_never_changes_does_not_blind_the_critic():
    """In a unit of its own a dead channel would be a million times as loud as a live one."""
    captured = drawn(8, 1)
    captured[:, 0] = 2.0
    torch.manual_seed(0)
    critic = FeatureCritic(captured, width=8).requires_grad_(False)
    moved = []
    for channel in (0, 1):
        other = captured.clone()
        other[:, channel] += 0.5
        moved.append(float((critic(other) - critic(captured)).abs().mean()))
    assert 0 < moved[0] < 20 * moved[1]
