"""Breaking a substitution cipher of words by the statistics of other text of the same kind.

Embeddings of one vocabulary are a finite set, so features without noise are a cipher: equal words
are equal symbols. Deciphering by n-grams of other text is Ravi and Knight 2011, "Deciphering
Foreign Language" (ACL) and Knight et al. 2006; here the unknown is a one-to-one assignment, found
by mean-field iteration over doubly normalised soft assignments (Gold and Rangarajan 1996, "A
Graduated Assignment Algorithm for Graph Matching").
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, Field
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from splitlab.errors import BadInput


class Decipher(BaseModel):
    """How to search.

    Args:
        reach: pairs of words up to so many places apart are counted, each distance on its own.
        smoothing: pseudo-count that draws rare pairs towards chance.
        steps: mean-field iterations, from hot to cold.
        hottest: temperature of the first step; the last is at 1, where the posterior is exact.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reach: int = Field(default=3, ge=1, le=16)
    smoothing: float = Field(default=1.0, gt=0)
    steps: int = Field(default=50, ge=1)
    hottest: float = Field(default=30.0, ge=1)


@dataclass(frozen=True, eq=False)
class Counts:
    """What is counted of a text.

    Args:
        places: [V, T], how often a word stands at a position.
        pairs: [reach + 1, V, V], how often the second word stands so far behind the first, and
            last how often anywhere behind it.
    """

    places: Tensor
    pairs: Tensor

    def to(self, device: torch.device | str) -> Counts:
        return Counts(self.places.to(device), self.pairs.to(device))


def count(tokens: Tensor, words: int, reach: int) -> Counts:
    """Counts of int64 [N, T] over `words` different tokens."""
    length = tokens.shape[1]
    at = torch.arange(length).expand_as(tokens)
    places = torch.bincount((tokens * length + at).flatten(), minlength=words * length)
    pairs = [
        torch.bincount(
            (tokens[:, :-apart] * words + tokens[:, apart:]).flatten(), minlength=words * words
        )
        for apart in range(1, min(reach, length - 1) + 1)
    ]
    pairs.append(_together(tokens, words))
    return Counts(
        places.view(words, length).float(),
        torch.stack(pairs).view(-1, words, words).float(),
    )


def _together(tokens: Tensor, words: int) -> Tensor:
    """In how many sentences the one word stands somewhere before the other, [words * words]."""
    first, second = torch.triu_indices(tokens.shape[1], tokens.shape[1], 1)
    return torch.bincount(
        (tokens[:, first] * words + tokens[:, second]).flatten(), minlength=words * words
    )


def decipher(
    symbols: Tensor,
    kinds: int,
    text: Tensor,
    words: int,
    settings: Decipher,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The word that each symbol most likely stands for, no two the same: int64 [kinds].

    Args:
        symbols: int64 [n, T] in 0..kinds-1, the captured sentences.
        text: int64 [N, T] in 0..words-1, other sentences of the same kind.

    Raises:
        BadInput: more symbols than words, or sentences of different lengths.
    """
    if kinds > words or symbols.shape[1] != text.shape[1]:
        raise BadInput(
            f"{kinds} symbols in sentences of {symbols.shape[1]} places and {words} words in "
            f"sentences of {text.shape[1]}: wanted at most as many symbols as words, and one length"
        )
    seen, known = count(symbols, kinds, settings.reach), count(text, words, settings.reach)
    likely = _log_shares(known, settings)
    seen, likely = seen.to(device), likely.to(device)
    alone = seen.places @ likely.places.T
    guess = _normalised(alone / settings.hottest)
    for step in range(settings.steps):
        share = step / max(1, settings.steps - 1)
        heat = settings.hottest ** (1 - share)
        guess = _normalised((alone + _support(seen, likely, guess)) / heat)
    score = alone + _support(seen, likely, guess)
    return torch.from_numpy(linear_sum_assignment(score.cpu().numpy(), maximize=True)[1])


def _log_shares(known: Counts, settings: Decipher) -> Counts:
    """Logarithms of smoothed shares: a position given the word, a pair beyond chance."""
    places = (known.places + 0.1) / known.places.sum()
    chance = torch.einsum("dv,dw->dvw", known.pairs.sum(2), known.pairs.sum(1))
    expected = chance / known.pairs.sum((1, 2))[:, None, None]
    shares = (known.pairs + settings.smoothing) / (expected + settings.smoothing)
    return Counts(places.log(), shares.log())


def _support(seen: Counts, likely: Counts, guess: Tensor) -> Tensor:
    """Expected log-likelihood of every (symbol, word) under the guess of all other symbols."""
    total = torch.zeros_like(guess)
    for pairs, logs in zip(seen.pairs, likely.pairs, strict=True):
        total += pairs @ guess @ logs.T + pairs.T @ guess @ logs
    return total


def _normalised(scores: Tensor, rounds: int = 30) -> Tensor:
    """Scores [K, V] -> shares whose rows add to 1 and whose columns add to at most 1."""
    logs = scores - scores.max(1, keepdim=True).values
    for _ in range(rounds):
        logs = logs - logs.logsumexp(0, keepdim=True).clamp_min(0)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.exp()
