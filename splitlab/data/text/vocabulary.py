"""Words to numbers and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from splitlab.errors import BadInput

PAD, BEGIN, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Tokens that are not words; their numbers are 0 to 3 in every vocabulary."""


@dataclass(frozen=True)
class Vocabulary:
    """Special tokens, then words; a token's number is its place.

    Raises:
        BadInput: the list does not begin with the special tokens, or names a word twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL)] != SPECIAL or len(set(self.words)) != len(self.words):
            raise BadInput(f"a vocabulary begins with {SPECIAL} and names every word once")

    @classmethod
    def of(cls, sentences: Iterable[Sequence[str]], least: int = 1) -> Vocabulary:
        """Every word that occurs at least `least` times, in the order of the alphabet."""
        counts = Counter(word for sentence in sentences for word in sentence)
        kept = sorted(word for word, count in counts.items() if count >= least)
        return cls((*SPECIAL, *kept))

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, sentences: Sequence[Sequence[str]], length: int) -> Tensor:
        """Words, <eos>, <pad>...: int64 [N, length]; longer sentences are cut before <eos>.

        Raises:
            BadInput: a length that leaves no room for a word.
        """
        if length < 2:
            raise BadInput(f"length={length}: a word and <eos> need two places")
        found = torch.full((len(sentences), length), PAD)
        for row, sentence in enumerate(sentences):
            kept = [self._numbers.get(word, UNKNOWN) for word in sentence[: length - 1]]
            found[row, : len(kept) + 1] = torch.tensor([*kept, END])
        return found

    def decode(self, tokens: Tensor) -> str:
        """One row int64 [T] as text, up to its <eos>; <pad> and <bos> are left out."""
        words = []
        for number in tokens.tolist():
            if number == END:
                break
            if number not in (PAD, BEGIN):
                words.append(self.words[number])
        return " ".join(words)
