"""Output dropout: a dropout layer between body and tail, in training and on the client."""

import pytest
import torch
from small_orders import equal, order, prepared, tensors
from torch.nn import functional as F

from defenses import parse
from defenses.output_dropout import drop_out
from defenses.parts.prepare import prepare
from splitlab.errors import BadInput
from splitlab.randomness import FreeDraw, KeyedDraw, Secret, generator

SECRET = Secret.new(secret_seed=5)


def test_it_is_torchs_dropout_but_for_the_draw():
    """The mask that torch drew, given as numbers, gives torch's answer."""
    output = torch.rand(16, 8) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        wanted = F.dropout(output, 0.25, training=True)
    uniform = torch.where(wanted == 0, 0.1, 0.9)
    assert torch.allclose(drop_out(output, uniform, 0.25), wanted)


def test_share_and_mean_are_those_of_a_dropout_layer():
    stack = parse("output-dropout:level=0.6")
    ones = torch.ones(100, 200)
    dropped = stack.recombine([ones], FreeDraw(generator(1)))[0]
    assert (dropped == 0).float().mean().item() == pytest.approx(0.6, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert dropped.max().item() == pytest.approx(2.5)


def test_each_row_and_body_has_its_own_mask_whatever_the_batching():
    stack = parse("output-dropout:level=0.5")
    outputs = [torch.ones(4, 64), torch.ones(4, 64)]
    whole = stack.recombine(outputs, KeyedDraw(SECRET, "a"))
    parts = [
        stack.recombine([o[:2] for o in outputs], KeyedDraw(SECRET, "a", 0)),
        stack.recombine([o[2:] for o in outputs], KeyedDraw(SECRET, "a", 2)),
    ]
    for i in range(2):
        assert torch.equal(whole[i], torch.cat([parts[0][i], parts[1][i]]))
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0][0], whole[0][1])
    assert not torch.equal(whole[0], stack.recombine(outputs, KeyedDraw(SECRET, "b"))[0])


def test_nothing_changes_on_the_wire():
    stack = parse("output-dropout")
    assert len(stack.protectors((4, 8, 8), SECRET)) == 0
    assert not stack.stochastic


def test_the_network_learns_with_it():
    """Training with the layer gives other weights; without loss of level 0 the very same."""
    plain = prepared("none")
    assert equal(tensors(prepared("output-dropout:level=0").tail), tensors(plain.tail))
    made = prepared("output-dropout:level=0.6")
    assert not equal(tensors(made.tail), tensors(plain.tail))
    images = order().images
    with torch.inference_mode():
        logits = made.logits(images.floats(), FreeDraw(generator(0)), parse("output-dropout"))
    assert (logits.argmax(1) == images.labels).float().mean().item() > 0.6


def test_without_a_tail_it_is_refused_before_any_training():
    with pytest.raises(BadInput, match="give --tail-start"):
        prepare(parse("output-dropout"), order(tail_start=None, images=None))


@pytest.mark.parametrize("text", ["output-dropout:level=1", "output-dropout:level=-0.1"])
def test_levels_outside_the_range_are_refused(text):
    with pytest.raises(BadInput, match="level"):
        parse(text)


def test_two_of_them_are_refused():
    with pytest.raises(BadInput, match="both own the outputs"):
        parse("output-dropout+output-dropout")
