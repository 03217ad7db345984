"""Noise is keyed by (secret, request, row); secrets do not come from seeds and are not shown."""

import torch

from splitlab.randomness import KeyedDraw, Secret, generator


def test_noise_does_not_depend_on_the_batching():
    secret, like = Secret.new(), torch.zeros(5, 2, 3)
    whole = KeyedDraw(secret, "id").normal(like, "noise")
    parts = [
        KeyedDraw(secret, "id", 0).normal(like[:2], "noise"),
        KeyedDraw(secret, "id", 2).normal(like[2:], "noise"),
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_noise_differs_by_secret_request_row_and_purpose():
    secret, like = Secret.new(), torch.zeros(2, 64)
    first = KeyedDraw(secret, "id").normal(like, "a")
    assert not torch.equal(first[0], first[1])
    for other in (
        KeyedDraw(Secret.new(), "id").normal(like, "a"),
        KeyedDraw(secret, "other").normal(like, "a"),
        KeyedDraw(secret, "id", 1).normal(like, "a"),
        KeyedDraw(secret, "id").normal(like, "b"),
    ):
        assert not torch.equal(first[0], other[0])


def test_draws_have_their_distribution():
    draw, like = KeyedDraw(Secret.new(1), "id"), torch.zeros(64, 1000)
    normal, uniform = draw.normal(like, "n"), draw.uniform(like, "u")
    assert abs(normal.mean()) < 0.02
    assert abs(normal.std() - 1) < 0.02
    assert 0 <= uniform.min() < uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01


def test_secrets_are_new_unless_asked_for_and_never_shown():
    assert Secret.new() != Secret.new()
    assert Secret.new(7) == Secret.new(7) != Secret.new(8)
    secret = Secret.new()
    assert secret.key.hex() not in repr(secret)
    assert repr(secret.key) not in repr(secret)


def test_generators_are_repeatable_and_separate():
    def draw(*labels):
        return torch.rand(4, generator=generator(3, *labels))

    assert torch.equal(draw("a"), draw("a"))
    assert not torch.equal(draw("a"), draw("b"))
    assert not torch.equal(draw("a", "b"), draw("ab"))
