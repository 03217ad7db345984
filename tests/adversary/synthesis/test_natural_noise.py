"""Noise to start from: its spectrum and its colours are what its source says of photographs."""

import pytest
import torch
from test_synthesis import SETTINGS, known, made

from adversary.synthesis.natural_noise import GREY, natural_noise
from adversary.synthesis.synthesis import synthesise


def noise(count=256, size=32):
    return natural_noise(count, (3, size, size), torch.Generator().manual_seed(0))


def test_its_mean_is_nought_and_its_variance_one():
    found = noise()
    assert found.shape == (256, 3, 32, 32)
    assert float(found.mean()) == pytest.approx(0.0, abs=0.15)
    assert float(found.var()) == pytest.approx(1.0, abs=1e-3)


def test_its_power_falls_with_the_square_of_the_frequency():
    power = torch.fft.fft2(noise()).abs().square().mean((0, 1))
    for low, high in ((1, 2), (2, 4), (3, 9)):
        for ratio in (power[0, low] / power[0, high], power[low, 0] / power[high, 0]):
            assert float(ratio) == pytest.approx((high / low) ** 2, rel=0.25)


def test_its_channels_have_most_in_common():
    flat = noise().transpose(0, 1).flatten(1)
    found = torch.corrcoef(flat)
    assert float(found[0, 1]) == pytest.approx(GREY, abs=0.03)
    assert float(found[1, 2]) == pytest.approx(GREY, abs=0.03)


def test_synthesis_may_start_there():
    natural = SETTINGS.model_copy(update={"start": "natural"})
    first = synthesise(known(), natural, seed=1, number=0, device=torch.device("cpu"))
    assert not torch.equal(first.images, made().images)
    assert first.facts["objective"][1] < first.facts["objective"][0]
    again = synthesise(known(), natural, seed=1, number=0, device=torch.device("cpu"))
    assert torch.equal(first.images, again.images)
