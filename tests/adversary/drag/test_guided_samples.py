"""The sampler under a Gaussian prior, whose posterior is known in closed form."""

from dataclasses import replace

import pytest
import torch
from gaussian_prior import LEVELS, NUMBERS, SIZE, GaussianPrior, linear_head, rngs

from adversary.inversion.drag.sampler import GuidanceSettings, guided_samples
from splitlab.errors import BadInput

PRIOR = GaussianPrior()
TURNED = torch.linalg.qr(
    torch.randn(NUMBERS, NUMBERS, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
).Q
HALF = TURNED[: NUMBERS // 2]
UNIT = 0.02
"""About the features' variance."""
PUBLISHED = GuidanceSettings(recurrence=4, inner=0, guidance=0.2)


def seen_through(matrix, images):
    return linear_head(matrix)(images)


def sampled(matrix, seen, settings=None, seed=0, **more):
    return guided_samples(
        PRIOR.epsilon,
        LEVELS,
        linear_head(matrix),
        seen,
        settings or GuidanceSettings(),
        rngs(len(seen), seed),
        SIZE,
        unit=UNIT,
        **more,
    )


def rms(values):
    return float(values.square().mean().sqrt())


def test_without_a_feature_it_samples_the_prior():
    """Mean and deviation of each pixel, to within four errors of 400 samples.

    In many steps: in few of them samples spread less than the prior does, and in 400 by a
    twentieth still. A deviation of one pixel has an error of 0.035.
    """
    nothing = torch.zeros(1, NUMBERS, dtype=torch.float64)
    settings = GuidanceSettings(steps=400, inner=0)
    images = sampled(nothing, torch.zeros(400, 1), settings).images.flatten(1)
    wanted = PRIOR.draw(20_000, 3).flatten(1)
    error = wanted.std(0) / 20
    assert bool(((images.mean(0) - wanted.mean(0)).abs() < 4 * error).all())
    spread = images.std(0) / wanted.std(0)
    assert float(spread.mean()) == pytest.approx(1, abs=0.08)
    assert bool(((spread - 1).abs() < 0.2).all())


@pytest.mark.parametrize("row", [0, 1])
def test_the_mean_of_samples_is_the_gaussian_posterior_mean(row):
    """Half of the numbers are seen. What is left is a fifth of the way from the prior's mean.

    192 samples have an error of 0.003 themselves; the spread of the descent, which is the same in
    all directions where this prior's is not, has the rest.
    """
    truth = PRIOR.draw(2, 5)[row : row + 1]
    seen = seen_through(HALF, truth)
    wanted = PRIOR.posterior(HALF, seen.double())[0]
    found = sampled(HALF, seen.expand(192, -1).contiguous())
    apart = rms(found.images.mean(0) - wanted)
    before = rms(PRIOR.mean.add(1).div(2).float().view(3, SIZE, SIZE) - wanted)
    assert apart < 0.012
    assert apart < 0.25 * before
    # and the features of each sample are the given ones
    assert float(found.losses.max()) < 1e-3


def test_of_an_invertible_head_the_image_is_found():
    truth = PRIOR.draw(8, 6)
    found = sampled(TURNED, seen_through(TURNED, truth))
    assert rms(found.images - truth) < 0.002  # 54 dB
    assert not bool(found.blind.any())


def test_the_published_guidance_comes_nearer_than_the_prior_alone():
    """It does not find the posterior mean: its steps are as long as the noise is."""
    truth = PRIOR.draw(64, 7)
    seen = seen_through(TURNED, truth)
    blind = rms(sampled(TURNED, seen, replace(PUBLISHED, guidance=0.0)).images - truth)
    guided = rms(sampled(TURNED, seen, PUBLISHED).images - truth)
    stronger = rms(sampled(TURNED, seen, replace(PUBLISHED, guidance=0.5)).images - truth)
    assert stronger < guided < 0.9 * blind


@pytest.mark.parametrize("settings", [GuidanceSettings(), PUBLISHED], ids=["descent", "guidance"])
def test_a_row_does_not_depend_on_the_others(settings):
    truth = PRIOR.draw(5, 8)
    seen = seen_through(HALF, truth)
    together = sampled(HALF, seen, settings).images
    for row in (0, 3):
        alone = guided_samples(
            PRIOR.epsilon,
            LEVELS,
            linear_head(HALF),
            seen[row : row + 1],
            settings,
            [rngs(5)[row]],
            SIZE,
            unit=UNIT,
        )
        torch.testing.assert_close(alone.images[0], together[row], rtol=0, atol=2e-3)


def test_a_row_does_not_see_one_that_diverges():
    """Its feature is no number, nor is its answer; the others are what they were."""
    seen = seen_through(HALF, PRIOR.draw(3, 8))
    whole = sampled(HALF, seen, PUBLISHED).images
    spoilt = seen.clone()
    spoilt[1] = torch.nan
    found = sampled(HALF, spoilt, PUBLISHED).images
    torch.testing.assert_close(found[[0, 2]], whole[[0, 2]])
    assert not bool(found[1].isfinite().all())


def test_it_begins_at_a_start():
    """Under little noise, and with nothing to steer it, it ends near where it began."""
    truth = PRIOR.draw(32, 9)
    nothing, none = torch.zeros(1, NUMBERS, dtype=torch.float64), torch.zeros(32, 1)
    apart = [
        rms(
            sampled(nothing, none, GuidanceSettings(inner=0, strength=one), start=truth).images
            - truth
        )
        for one in (0.02, 0.2, 1.0)
    ]
    assert apart[0] < 0.01
    assert apart[0] < apart[1] < apart[2]


@pytest.mark.parametrize("settings", [GuidanceSettings(), PUBLISHED], ids=["descent", "guidance"])
def test_a_head_that_sees_nothing_is_told(settings):
    nothing = torch.zeros(2, NUMBERS, dtype=torch.float64)
    found = sampled(nothing, torch.ones(3, 2), settings)
    assert found.blind.tolist() == [True] * 3
    assert bool(found.images.isfinite().all())


def test_elements_that_do_not_count_have_no_say():
    truth = PRIOR.draw(4, 10)
    seen = seen_through(TURNED, truth)
    counts = torch.ones_like(seen)
    counts[:, ::2] = 0
    lost = torch.where(counts == 0, torch.full_like(seen, 7.0), seen)
    wanted = sampled(TURNED[1::2], seen[:, 1::2].contiguous()).images
    found = sampled(TURNED, lost, counts=counts).images
    torch.testing.assert_close(found, wanted, rtol=0, atol=5e-3)


def test_wrong_calls_are_refused():
    seen = torch.zeros(2, NUMBERS // 2)
    with pytest.raises(BadInput, match="steps=1001"):
        sampled(HALF, seen, GuidanceSettings(steps=1001))
    with pytest.raises(ValueError, match="3 generators and 2 rows"):
        guided_samples(
            PRIOR.epsilon, LEVELS, linear_head(HALF), seen, GuidanceSettings(), rngs(3), SIZE
        )
