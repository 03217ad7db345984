"""Identities of the noise schedules."""

import pytest
import torch

from adversary.inversion.drag.schedule import (
    alpha_bars,
    cosine,
    denoised,
    deviation,
    linear,
    noised,
    visited,
)
from splitlab.errors import BadInput


@pytest.mark.parametrize("name", ["linear", "cosine"])
@pytest.mark.parametrize("times", [2, 50, 1000])
def test_alpha_bar_falls_within_0_and_1(name, times):
    levels = alpha_bars(name, times)
    assert levels.shape == (times,)
    assert bool((levels[1:] < levels[:-1]).all())
    assert 0 < float(levels[-1]) < float(levels[0]) < 1


def test_known_values():
    """By hand: 1 - 1e-4, that times 1 - 2e-2; and the papers' ends of 1,000 times."""
    torch.testing.assert_close(linear(2), torch.tensor([0.9999, 0.9999 * 0.98]).double())
    assert float(linear(1000)[-1]) == pytest.approx(4.04e-5, rel=0.01)
    assert float(cosine(1000)[499]) == pytest.approx(0.4938, abs=1e-3)
    assert float(linear(3, 0.01, 0.09, root=True)[1]) == pytest.approx(0.99 * (1 - 0.04))


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_true_noise_gives_the_clean_image(name):
    draw = torch.Generator().manual_seed(0)
    clean = 2 * torch.rand(6, 3, 4, 4, generator=draw, dtype=torch.float64) - 1
    noise = torch.randn(clean.shape, generator=draw, dtype=torch.float64)
    levels = alpha_bars(name)[[0, 1, 10, 100, 500, 900]]
    noisy = noised(clean, noise, levels)
    torch.testing.assert_close(denoised(noisy, noise, levels), clean, rtol=1e-9, atol=1e-9)
    one = noised(clean[:1], noise[:1], levels[3])
    torch.testing.assert_close(one, noised(clean[:1], noise[:1], levels[3:4]))


def test_a_step_with_all_its_noise_keeps_the_level():
    """DDIM: what is kept of the noise, and what is added, give the level that is gone to."""
    levels = alpha_bars("linear")
    spread = deviation(levels[500], levels[400], 1.0)
    kept = 1 - levels[400] - spread.square()
    assert float(kept) > 0
    # DDPM's posterior variance, beta (1 - before) / (1 - level)
    beta = 1 - levels[500] / levels[400]
    torch.testing.assert_close(spread.square(), beta * (1 - levels[400]) / (1 - levels[500]))
    assert float(deviation(levels[500], torch.ones(()).double(), 1.0)) == 0
    assert float(deviation(levels[500], levels[400], 0.0)) == 0


def test_visited_times_fall_to_0_and_begin_where_the_strength_says():
    assert visited(1000, 4) == [999, 666, 333, 0]
    assert visited(1000, 4, 0.5) == [333, 0]
    assert visited(1000, 4, 0.01) == [0]
    assert visited(1000, 1) == [0]
    whole = visited(1000, 250)
    assert len(whole) == len(set(whole)) == 250
    assert whole == sorted(whole, reverse=True)


@pytest.mark.parametrize("steps", [0, 11])
def test_more_steps_than_times_are_refused(steps):
    with pytest.raises(BadInput, match="wanted 1 to 10"):
        visited(10, steps)
    with pytest.raises(BadInput, match="at least 2"):
        alpha_bars("linear", 1)
