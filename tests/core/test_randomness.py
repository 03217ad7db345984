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


def test_every_bit_of_the_key_counts():
    """A generator that keeps 32 bits of its seed would repeat itself within these keys."""
    like = torch.zeros(1, 8)
    key = bytes(range(32))
    drawn = set()
    for bit in range(256):
        flipped = bytearray(key)
        flipped[bit // 8] ^= 1 << (bit % 8)
        noise = KeyedDraw(Secret(bytes(flipped)), "id").normal(like, "n")
        drawn.add(tuple(noise.flatten().tolist()))
    assert len(drawn) == 256


def test_a_stream_is_longer_than_32_bits_of_state():
    """Consecutive requests under one key never share a value, as 2^32 states would allow."""
    secret = Secret.new(3)
    first = torch.cat([secret.uniform(2000, "id", row) for row in range(50)])
    assert len(first.unique()) == len(first)


def test_a_permutation_holds_each_index_once():
    order = Secret.new(1).permutation(100, "order")
    assert sorted(order.tolist()) == list(range(100))
    assert order.tolist() != list(range(100))
    assert torch.equal(order, Secret.new(1).permutation(100, "order"))


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
