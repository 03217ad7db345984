"""Sentences in four disjoint partitions, with the word lists of both languages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch

from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import Vocabulary
from splitlab.errors import BadInput
from splitlab.randomness import generator
from splitlab.storage import canonical_json, sha256

SHARES = {"train": 0.5, "auxiliary": 0.4, "validation": 0.04, "victims": 0.06}
Words = tuple[str, ...]


class Pair(NamedTuple):
    """One sentence in both languages."""

    english: Words
    german: Words


@dataclass(frozen=True)
class SentenceSplits:
    """Disjoint partitions of unique English sentences, and the vocabularies of the client.

    Args:
        train: what the victim learns from.
        auxiliary: the adversary's own, of the same distribution.
        validation: for choices of either side; never scored.
        victims: what crosses the wire and is attacked.
        english, german: word lists; public as a tokenizer is, unlike the embeddings.
    """

    name: str
    train: tuple[Pair, ...]
    auxiliary: tuple[Pair, ...]
    validation: tuple[Pair, ...]
    victims: tuple[Pair, ...]
    english: Vocabulary
    german: Vocabulary

    notes: ClassVar[tuple[str, ...]] = ()

    @property
    def partitions(self) -> dict[str, tuple[Pair, ...]]:
        """Name -> sentences."""
        return {name: getattr(self, name) for name in SHARES}

    @property
    def classes(self) -> tuple[str, ...]:
        """What a translator answers with: words of the target language."""
        return self.german.words

    @cached_property
    def hash(self) -> str:
        """SHA-256 over every partition and both vocabularies."""
        words = [self.english.words, self.german.words]
        return sha256(canonical_json(self.partitions), canonical_json(words))

    def encoded(self, part: str, source_length: int, target_length: int) -> Sentences:
        """One partition as numbers of words."""
        pairs = self.partitions[part]
        return Sentences(
            self.english.encode([pair.english for pair in pairs], source_length),
            self.german.encode([pair.german for pair in pairs], target_length),
        )

    def held_out(self, count: int, seed: int) -> SentenceSplits:
        """`count` validation sentences, drawn under `seed`, as the victims; the others stay.

        Raises:
            BadInput: fewer than one would be left to be granted.
        """
        there = len(self.validation)
        if not 0 < count < there:
            raise BadInput(
                f"--images {count}: there are {there} validation sentences, of which the attack is "
                f"granted at least one; give 1 to {there - 1}"
            )
        order = torch.randperm(there, generator=generator(seed, "held out")).tolist()
        own = [self.validation[row] for row in order]
        return replace(self, victims=tuple(own[:count]), validation=tuple(own[count:]))

    def check_disjoint(self) -> None:
        """
        Raises:
            BadInput: an English sentence stands in two partitions.
        """
        seen: dict[Words, str] = {}
        for name, pairs in self.partitions.items():
            for pair in pairs:
                if seen.setdefault(pair.english, name) != name:
                    raise BadInput(
                        f"{' '.join(pair.english)!r} is in {seen[pair.english]} and in {name}; "
                        "every sentence belongs to one partition"
                    )
