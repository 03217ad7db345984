"""Clusters of captured vectors: exact without noise, clouds with some, an error with too much."""

import pytest
import torch

from adversary.inversion.text.symbols import find_symbols
from splitlab.errors import BadInput

WORDS, WIDTH, LENGTH = 20, 32, 9


def world(noise, rows=60, wanted=WORDS):
    rng = torch.Generator().manual_seed(4)
    vectors = torch.randn(WORDS, WIDTH, generator=rng)
    places = torch.randn(LENGTH, WIDTH, generator=rng)
    text = torch.randint(wanted, (rows, LENGTH), generator=rng)
    features = vectors[text] + places
    return text, features + noise * torch.randn(features.shape, generator=rng), places, vectors


@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.05, 0.3])
def test_equal_words_are_equal_symbols_and_no_others(noise):
    text, features, places, vectors = world(noise)
    found = find_symbols(features, places, WORDS)
    assert len(found.centres) == WORDS
    meaning = torch.zeros(WORDS).long()
    meaning[found.ids.flatten()] = text.flatten()
    assert meaning[found.ids].equal(text)
    assert (found.centres - vectors[meaning]).abs().max() < max(noise, 1e-3)


def test_few_words_of_a_large_vocabulary():
    text, features, places, _ = world(0.0, rows=2, wanted=5)
    found = find_symbols(features, places, 1_000)
    assert len(found.centres) == len(text.unique())


def test_one_word_alone():
    _, features, places, _ = world(0.0, rows=3, wanted=1)
    assert len(find_symbols(features, places, WORDS).centres) == 1


def test_noise_as_large_as_words_hides_them():
    _, features, places, _ = world(3.0)
    with pytest.raises(BadInput, match="less noise"):
        find_symbols(features, places, WORDS)
