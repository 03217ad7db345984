"""Single: Gaussian noise drawn once, and a network that learned beside that very draw."""

import pytest
import torch
from small_orders import equal, order, prepared, tensors

from defenses import parse
from defenses.parts.prepare import prepare
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import FreeDraw, Secret, generator


def draw():
    return FreeDraw(generator(0, "single"))


def test_it_is_gaussian_noise_that_stays():
    stack = parse("single:level=0.3")
    assert stack.spec == "single:draw=fixed,level=0.3"
    assert not stack.stochastic
    assert stack.defenses[0].retrains
    made = stack.protectors((8, 16, 16), Secret.new(secret_seed=1))
    zeros = torch.zeros(2, 8, 16, 16)
    noise = made[0](zeros, draw())
    assert torch.equal(noise[0], noise[1])
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)


def test_the_network_learns_with_its_noise_and_not_without():
    """Under heavy noise the retrained network answers right where the other one does not."""
    learned, beside = prepared("single:level=10"), prepared("gaussian:level=10,draw=fixed")
    plain = prepared("none")
    assert equal(tensors(beside.head), tensors(plain.head))
    assert not equal(tensors(learned.head), tensors(plain.head))
    images = order().images
    with torch.inference_mode():
        right = [
            (h.logits(images.floats(), draw()).argmax(1) == images.labels).float().mean().item()
            for h in (learned, beside)
        ]
    assert right[0] > 0.95
    assert right[1] < 0.9


def test_what_was_trained_without_it_is_not_taken():
    """Weights at hand are an undefended network's; this defence has to train its own."""
    given = build(order().arch, seed=9).net.state_dict()
    kept = prepare(parse("gaussian:draw=fixed"), order(trained=given))
    assert kept.facts["epochs"] == 0
    assert prepare(parse("single"), order(trained=given)).facts["epochs"] == 6


def test_the_secret_and_never_the_seed_gives_the_noise():
    one = parse("single").protectors((4, 4), Secret.new(secret_seed=1))[0].noise
    assert torch.equal(one, parse("single").protectors((4, 4), Secret.new(secret_seed=1))[0].noise)
    assert not torch.equal(one, parse("single").protectors((4, 4), Secret.new())[0].noise)


def test_an_adversary_who_knows_it_draws_anew():
    assert parse("single:level=0.2").as_fresh() == parse("single:draw=fresh,level=0.2")


@pytest.mark.parametrize("text", ["single:level=-1", "single:sigma=1", "single:draw=never"])
def test_bad_fields_are_named(text):
    with pytest.raises(BadInput, match="single"):
        parse(text)
