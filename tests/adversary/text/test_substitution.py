"""The cipher: counts by hand, a key that statistics give away, and one that nothing gives away."""

import pytest
import torch

from adversary.inversion.text.substitution import Decipher, count, decipher
from splitlab.errors import BadInput

WORDS = 12


def chains(rows, seed, length=10, uneven=True):
    """Sentences of a Markov chain whose words follow each other unevenly, or at random."""
    rng = torch.Generator().manual_seed(seed)
    if not uneven:
        return torch.randint(WORDS, (rows, length), generator=rng)
    shares = (2 * torch.randn(WORDS, WORDS, generator=torch.Generator().manual_seed(99))).softmax(1)
    found = [torch.randint(WORDS, (rows,), generator=rng)]
    while len(found) < length:
        found.append(torch.multinomial(shares[found[-1]], 1, generator=rng)[:, 0])
    return torch.stack(found, 1)


def hidden(text, seed=5):
    """(symbols, key) of a text under a random renaming."""
    key = torch.randperm(WORDS, generator=torch.Generator().manual_seed(seed))
    return key.argsort()[text], key


def test_counts_by_hand():
    found = count(torch.tensor([[0, 1, 0], [1, 1, 2]]), 3, 2)
    assert found.places.tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 1]]
    assert found.pairs[0].tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert found.pairs[1].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert found.pairs[2].tolist() == (found.pairs[0] + found.pairs[1]).tolist()


def test_a_cipher_is_broken_by_what_follows_what():
    symbols, key = hidden(chains(300, 1))
    assert decipher(symbols, WORDS, chains(2_000, 2), WORDS, Decipher()).equal(key)


def test_the_very_text_gives_its_key_away():
    text = chains(100, 3)
    symbols, key = hidden(text)
    assert decipher(symbols, WORDS, text, WORDS, Decipher()).equal(key)


def test_text_without_statistics_gives_nothing_away():
    right = 0.0
    for seed in range(8):
        symbols, key = hidden(chains(300, seed, uneven=False), seed)
        text = chains(2_000, seed + 50, uneven=False)
        read = decipher(symbols, WORDS, text, WORDS, Decipher(steps=20))
        right += float((read == key).float().mean()) / 8
    assert right < 0.25


def test_no_word_is_given_twice():
    symbols, _ = hidden(chains(50, 1))
    read = decipher(symbols, WORDS, chains(200, 2), WORDS, Decipher(steps=5))
    assert len(read.unique()) == WORDS


def test_more_symbols_than_words_are_refused():
    with pytest.raises(BadInput, match="13 symbols"):
        decipher(torch.zeros(2, 10).long(), 13, chains(5, 0), WORDS, Decipher())
    with pytest.raises(BadInput, match="one length"):
        decipher(torch.zeros(2, 9).long(), 1, chains(5, 0), WORDS, Decipher())
