"""What images are like: known answers for grey, noisy and flat ones."""

import pytest
import torch

from adversary.synthesis.character import character
from adversary.synthesis.natural_noise import natural_noise


def test_white_noise_is_fine_and_its_channels_have_nothing_in_common():
    noise = torch.randint(0, 256, (64, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    found = character(noise.byte())
    assert found["colours_together"] == pytest.approx(0.0, abs=0.02)
    assert found["fine"] == pytest.approx(0.8, abs=0.03)
    assert found["spread"] < 0.02


def test_flat_grey_images_have_spread_alone():
    levels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    found = character(levels.contiguous())
    assert found == {
        "spread": pytest.approx(0.5**0.5, abs=1e-3),
        "colours_together": 1.0,
        "fine": 0.0,
    }


def test_natural_noise_is_what_photographs_are():
    pixels = natural_noise(64, (3, 32, 32), torch.Generator().manual_seed(0)).mul(40).add(128)
    found = character(pixels.clamp(0, 255).byte())
    assert found["colours_together"] > 0.8
    assert found["fine"] < 0.3
    assert found["spread"] > 0.05
