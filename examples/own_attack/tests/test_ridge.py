"""The attack keeps the lab's rules, and finds what it can know: run `python -m pytest`."""

import pytest
import torch
from own_attack.ridge import Ridge, fit_ridge

from adversary.contract.testing import attack_rules
from adversary.registry import ATTACKS


@pytest.mark.parametrize("rule", attack_rules(Ridge), ids=lambda rule: rule.name)
def test_the_contract(rule):
    rule.check()


def test_it_is_installed():
    assert ATTACKS.load("ridge") is Ridge
    assert ATTACKS.foreign("ridge").package == "own-attack"


def test_a_linear_head_is_inverted():
    """Features that are a rotation of the pixels: the images come back."""
    draw = torch.Generator().manual_seed(0)
    images = torch.rand(300, 3, 4, 4, generator=draw)
    rotation = torch.linalg.qr(torch.randn(48, 48, generator=draw)).Q
    features = images.flatten(1) @ rotation
    decoder = fit_ridge(features[:200], images[:200], [1e-9])
    assert (decoder(features[200:]) - images[200:]).abs().max() < 1e-3


def test_noise_teaches_it_nothing():
    """It chooses the largest penalty, and answers with the mean image."""
    draw = torch.Generator().manual_seed(0)
    images, noise = torch.rand(80, 3, 4, 4, generator=draw), torch.randn(80, 20, generator=draw)
    decoder = fit_ridge(noise, images, [1e-6, 1e3])
    assert decoder.penalty == 1e3
    assert (decoder(noise) - decoder.mean).abs().max() < 0.05
