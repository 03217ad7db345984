"""Inverting a generator: the mirrors fit, the chain is the generator, a latent is found again."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from adversary.contract.attack import run_attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import Workplace
from adversary.inversion.dci.gan_inversion import chain_of, inverse_of, invert
from adversary.inversion.dci.generator_attack import GeneratorInverse
from adversary.inversion.dci.training import InverseSchooling
from splitlab.contracts import Features
from splitlab.models.sngan import SNGANGenerator
from splitlab.randomness import generator
from splitlab.training.gan import GanRecipe, train_sngan

CPU = torch.device("cpu")
SHORT = InverseSchooling(2, 3e-3, 1, 1e-3, 32, 1.0, 1.0, 1.0, True)


def small(width: int = 4) -> SNGANGenerator:
    torch.manual_seed(0)
    return SNGANGenerator(32, width).requires_grad_(False).eval()


@pytest.mark.parametrize(("size", "width"), [(32, 4), (64, 16)])
def test_every_part_has_a_mirror_of_its_shapes(size: int, width: int) -> None:
    torch.manual_seed(0)
    net = SNGANGenerator(size, width).eval()
    value = torch.randn(2, 128, generator=generator(0))
    blocks = chain_of(net)
    assert len(blocks) == len(net.parts())
    with torch.no_grad():
        images = net(value)
        for block in blocks:
            found = inverse_of(block)(torch.randn(2, *block.made))
            assert tuple(found.shape[1:]) == block.given
            value = block.module(value)
    assert torch.equal(value, images)


def test_the_linear_layer_s_inverse_starts_where_it_is_exact() -> None:
    torch.manual_seed(0)
    block = chain_of(SNGANGenerator(32, 16).eval())[0]
    z = torch.randn(8, 128, generator=generator(5))
    with torch.no_grad():
        assert (inverse_of(block)(block.module(z)) - z).abs().max() < 1e-4


def test_a_finished_inversion_is_read_back(tmp_path: Path) -> None:
    net = small()
    work = Workplace(checkpoint=tmp_path / "inverse.pt")
    inverse, told = invert(net, SHORT, latents=48, seed=1, work=work)
    assert [one["block"] for one in told] == [1, 2, 3, 4, 5]
    z = torch.randn(8, 128, generator=generator(5))
    with torch.no_grad():
        again, nothing = invert(net, SHORT, latents=48, seed=1, work=work)
        assert nothing == []
        assert torch.equal(again(net(z)), inverse(net(z)))


@cache
def inverted() -> torch.nn.Module:
    """The linear layer makes 256 numbers of 128: it has an inverse."""
    return invert(small(width=16), SHORT, latents=48, seed=1)[0]


@pytest.mark.parametrize("depth", [1, pytest.param(3, marks=pytest.mark.slow), 5])
def test_whatever_is_shown_is_answered_by_the_one_inverse(depth: int) -> None:
    net, inverse = small(width=16), inverted()
    z = torch.randn(8, 128, generator=generator(5))
    parts = net.parts()
    head, rest = torch.nn.Sequential(*parts[:depth]), torch.nn.Sequential(*parts[depth:])
    attack = GeneratorInverse(latents=48, **vars(SHORT))
    with torch.no_grad():
        made, wanted = head(z), head(z)
        for step in list(inverse)[-depth:]:
            wanted = step(wanted)
    seen = Features(tuple(map(str, range(8))), made)
    threat = ThreatModel(head=head, bodies=torch.nn.ModuleList([rest]))
    answer = run_attack(attack, threat, seen, torch.Generator().manual_seed(1)).estimate.values
    torch.testing.assert_close(answer, wanted)
    if depth == 1:  # phases A and B leave it near where it started
        assert float((answer - z).abs().mean()) < 0.15 * float(z.abs().mean())


@pytest.mark.slow
def test_latents_come_nearer_than_an_inverse_that_learned_nothing() -> None:
    net = small(width=16)
    schooling = InverseSchooling(20, 3e-3, 10, 1e-3, 32, 1.0, 1.0, 1.0, True)
    inverse, _ = invert(net, schooling, latents=512, seed=1)
    z = torch.randn(64, 128, generator=generator(5))
    with torch.no_grad():
        error = float((inverse(net(z)) - z).abs().mean())
    assert error < 0.93 * float(z.abs().mean())  # as if it answered 0


@pytest.mark.slow
def test_an_sngan_learns_the_colour_of_its_images() -> None:
    draw = generator(3)
    grey = (0.2 + 0.02 * torch.randn(32, 3, 32, 32, generator=draw)).clamp(0, 1)
    recipe = GanRecipe(width=4, epochs=40, batch_size=32, learning_rate=2e-3, rounds=2)
    net, history = train_sngan(grey.mul(255).byte(), recipe, seed=1, device=CPU)
    with torch.no_grad():
        made = (net(torch.randn(32, 128, generator=generator(2))) + 1) / 2
    assert abs(float(made.mean()) - 0.2) < 0.15
    assert history.epochs == 40
