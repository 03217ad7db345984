"""The translator that is cut for text: positions, causality, shapes, bad sizes."""

import math

import pytest
import torch
from pydantic import ValidationError

from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec, positions, sinusoids

SPEC = Seq2SeqSpec(
    source_words=11,
    target_words=13,
    source_length=5,
    target_length=6,
    width=8,
    heads=2,
    layers=1,
    feedforward=16,
)


def tokens(rows=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(11, (rows, 11), generator=rng)


def test_sinusoids_are_the_papers():
    found = sinusoids(7, 6)
    for place in range(7):
        for pair in range(3):
            angle = place / 10_000 ** (2 * pair / 6)
            assert found[place, 2 * pair] == pytest.approx(math.sin(angle), abs=1e-6)
            assert found[place, 2 * pair + 1] == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_feature_is_its_words_vector_plus_the_position():
    net = Seq2Seq(SPEC, 0).eval()
    given = tokens()
    feature = net.head(given) - positions(SPEC)
    assert feature.shape == (3, *SPEC.feature_shape)
    torch.testing.assert_close(feature[1, 2], math.sqrt(8) * net.head.source.weight[given[1, 2]])
    torch.testing.assert_close(feature[1, 7], math.sqrt(8) * net.head.target.weight[given[1, 7]])


def test_an_answer_does_not_depend_on_later_target_words():
    net = Seq2Seq(SPEC, 0).eval()
    first, second = tokens(), tokens()
    second[:, 9:] = (second[:, 9:] + 1) % 11
    with torch.no_grad():
        one, two = net(first), net(second)
    torch.testing.assert_close(one[:, :4], two[:, :4])
    assert (one[:, 4:] - two[:, 4:]).abs().max() > 1e-3
    assert one.shape == (3, 6, 13)


def test_weights_follow_the_seed_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()
    first, again, other = Seq2Seq(SPEC, 1), Seq2Seq(SPEC, 1), Seq2Seq(SPEC, 2)
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first.head.source.weight, again.head.source.weight)
    assert not torch.equal(first.head.source.weight, other.head.source.weight)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("heads", 3, "must divide width"), ("width", 9, "must be even"), ("layers", 0, "layers")],
)
def test_sizes_that_do_not_fit_are_refused(field, value, words):
    given = {**SPEC.model_dump(), field: value}
    if field == "width":
        given["heads"] = 3
    with pytest.raises(ValidationError, match=words):
        Seq2SeqSpec(**given)
