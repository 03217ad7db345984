"""Bootstrap intervals over groups."""

import pytest
import torch

from splitlab.errors import BadInput
from splitlab.metrics import evaluate, mean_interval, set_interval
from splitlab.metrics.latent import NORMALITY


def test_groups_make_the_interval_wider():
    """100 copies of 10 independent values are 10 observations, not 1,000."""
    values = torch.randn(10, generator=torch.Generator().manual_seed(0)).repeat_interleave(100)
    by_group = mean_interval(values, torch.arange(10).repeat_interleave(100))
    by_image = mean_interval(values, torch.arange(1_000))
    assert by_group.mean == by_image.mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert by_group.high - by_group.low > 5 * (by_image.high - by_image.low)


def test_coverage_is_about_95_percent():
    g = torch.Generator().manual_seed(1)
    hits = 0
    for trial in range(200):
        values = torch.randn(60, generator=g)
        _, low, high = mean_interval(values, torch.arange(60), n_boot=400, seed=trial)
        hits += low <= 0 <= high
    assert 0.89 <= hits / 200 <= 0.99


def test_unequal_groups_weigh_by_their_images():
    values = torch.tensor([1.0, 1.0, 1.0, 5.0])
    assert mean_interval(values, torch.tensor([0, 0, 0, 1])).mean == 2.0


def test_same_seed_same_interval():
    values, groups = torch.rand(30), torch.arange(30)
    assert mean_interval(values, groups, seed=4) == mean_interval(values, groups, seed=4)
    assert mean_interval(values, groups, seed=4) != mean_interval(values, groups, seed=5)


def test_one_group_has_no_interval():
    assert mean_interval(torch.tensor([1.0, 3.0]), torch.zeros(2).long()) == (2.0, None, None)


@pytest.mark.parametrize("values", [torch.zeros(0), torch.tensor([float("nan"), 1.0])])
def test_bad_values_are_refused(values):
    with pytest.raises(BadInput):
        mean_interval(values, torch.arange(len(values)))


def test_a_mean_as_a_number_of_the_set_has_the_interval_of_the_mean():
    """The same groups are drawn, so that the two ways are one."""
    values = torch.randn(60, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for groups in (torch.arange(60), torch.arange(60) % 7, torch.arange(60).flip(0) // 9):
        mean = mean_interval(values, groups, seed=5)
        told = set_interval(lambda rows: float(rows[0].mean()), (values,), groups, seed=5)
        assert told == pytest.approx(mean, abs=1e-12)


def test_rows_of_a_group_stay_together_and_beside_each_other():
    """Groups of a and b whose rows cancel: whatever groups are drawn, the sum is 0."""
    left = torch.tensor([3.0, -3.0, 5.0, -5.0])
    groups = torch.tensor([0, 0, 1, 1])

    def both(rows):
        assert torch.equal(rows[0], rows[1])
        return float(rows[0].sum())

    told = set_interval(both, (left, left.clone()), groups, n_boot=50)
    assert told == (0.0, 0.0, 0.0)
    apart = set_interval(lambda rows: float(rows[0].sum()), (left,), torch.arange(4), n_boot=50)
    assert apart.low < 0 < apart.high


def test_a_number_of_a_set_that_is_none_is_refused():
    for rows, groups in (((torch.rand(3),), torch.arange(2)), ((torch.rand(0),), torch.arange(0))):
        with pytest.raises(BadInput, match="an interval needs rows"):
            set_interval(lambda _: 0.0, rows, groups)
    with pytest.raises(BadInput, match="not finite"):
        set_interval(lambda _: float("nan"), (torch.rand(3),), torch.arange(3))
    assert set_interval(lambda _: 2.0, (torch.rand(3),), torch.zeros(3)) == (2.0, None, None)


@pytest.mark.parametrize("shift", [0.0, 0.125, 1.0])
def test_an_interval_holds_its_own_value_where_resamples_lie_to_one_side(shift):
    """A largest distance grows where rows are repeated; the interval is not to lie beside it."""
    draw = torch.Generator().manual_seed(4)
    latents = torch.randn(60, 4, generator=draw) + shift
    column = evaluate([NORMALITY], latents, latents)[NORMALITY.name]
    told = column.interval(torch.arange(60))
    assert told.low < told.mean < told.high
    assert told.low >= 0
    # Of 240 coordinates the distance has a deviation of about 0.26 / sqrt(240) (Kolmogorov).
    assert told.high - told.low < 8 * 0.26 / 240**0.5
    highest = set_interval(lambda rows: -float(rows[0].max()), (latents[:, 0],), torch.arange(60))
    assert highest.low <= highest.mean <= highest.high
