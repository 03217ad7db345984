"""English-German sentence pairs from a small grammar of our own, or from a parallel corpus.

The grammar is deterministic in its translation: German puts the verb second (after an adverb, too)
and last in clauses, the place before the object, and inflects articles and adjectives by gender
and case, so that no translation goes word by word. Words are Zipf-like within their class and
cluster by scene. Sentences of the four partitions are disjoint.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch

from splitlab.data.text import lexicon as lex
from splitlab.data.text.sentence_splits import SHARES, Pair, SentenceSplits, Words
from splitlab.data.text.vocabulary import Vocabulary
from splitlab.errors import BadInput, Unavailable
from splitlab.randomness import generator

LONGEST = 17
"""Words of a sentence of the grammar, at most, in either language."""
ELSEWHERE = 0.04
"""Weight of a word outside its scenes."""


def load_sentences(
    dataset: str, sizes: Mapping[str, int | None], *, seed: int = 0
) -> SentenceSplits:
    """ "grammar", of these sizes, or "corpus:PATH", which has its own.

    Raises:
        Unavailable: a corpus that is not there.
        BadInput: neither, a corpus that does not fit together, or no size.
    """
    kind, _, root = dataset.partition(":")
    if kind == "grammar":
        return grammar_splits(**{name: size or 0 for name, size in sizes.items()}, seed=seed)
    if kind != "corpus":
        raise BadInput(f"{kind!r} is no text; wanted grammar, or a corpus by --text-root")
    if not root:
        raise Unavailable("--text-root was not given: a folder with train.en and train.de")
    return corpus_splits(Path(root), seed=seed)


def grammar_splits(
    *, train: int, auxiliary: int, validation: int, victims: int, seed: int = 0
) -> SentenceSplits:
    """Unique sentences of the grammar, in the order in which they are drawn under `seed`.

    Raises:
        BadInput: a partition without a sentence.
    """
    sizes = {
        "train": train,
        "auxiliary": auxiliary,
        "validation": validation,
        "victims": victims,
    }
    if min(sizes.values()) < 1:
        raise BadInput(f"partitions of {sizes} sentences; give each at least one")
    draw = _Draw(seed)
    unique: dict[Words, Pair] = {}
    while len(unique) < sum(sizes.values()):
        pair = _sentence(draw)
        if max(len(pair.english), len(pair.german)) <= LONGEST:
            unique.setdefault(pair.english, pair)
    return _partition("grammar", list(unique.values()), sizes)


def corpus_splits(root: Path, *, seed: int = 0, least: int = 2) -> SentenceSplits:
    """`root/train.en` and `root/train.de`, one sentence a line, in four disjoint parts.

    Args:
        least: how often a word of the training sentences must occur to have an embedding.

    Raises:
        Unavailable: a file is missing.
        BadInput: the files do not belong together, or hold too little.
    """
    files = [root / "train.en", root / "train.de"]
    for file in files:
        if not file.is_file():
            raise Unavailable(f"--text-root: {file.name} is not there")
    english, german = (file.read_text(encoding="utf-8").splitlines() for file in files)
    if len(english) != len(german):
        raise BadInput(
            f"--text-root: train.en has {len(english)} lines and train.de {len(german)}; "
            "wanted the same number"
        )
    unique: dict[Words, Pair] = {}
    for first, second in zip(english, german, strict=True):
        pair = Pair(tokenise(first), tokenise(second))
        if pair.english and pair.german:
            unique.setdefault(pair.english, pair)
    if len(unique) < 100:
        raise BadInput(f"--text-root: {len(unique)} different sentences; give at least 100")
    pairs = list(unique.values())
    order = torch.randperm(len(pairs), generator=generator(seed, "corpus")).tolist()
    sizes = {name: int(share * len(pairs)) for name, share in SHARES.items()}
    return _partition("corpus", [pairs[i] for i in order], sizes, least)


def tokenise(line: str) -> Words:
    """Lower case words and single punctuation marks."""
    return tuple(re.findall(r"\w+|[^\w\s]", line.lower()))


def _partition(
    name: str, pairs: Sequence[Pair], sizes: dict[str, int], least: int = 1
) -> SentenceSplits:
    parts: dict[str, tuple[Pair, ...]] = {}
    first = 0
    for part, size in sizes.items():
        parts[part] = tuple(pairs[first : first + size])
        first += size
    english = Vocabulary.of((p.english for p in parts["train"]), least)
    german = Vocabulary.of((p.german for p in parts["train"]), least)
    splits = SentenceSplits(name, **parts, english=english, german=german)
    splits.check_disjoint()
    return splits


class _Draw:
    """Choices under one seed; a table's order is its rank of frequency."""

    def __init__(self, seed: int) -> None:
        self._rng = generator(seed, "sentences")
        self._scene = lex.SCENES[0]
        self._sums: dict[tuple[str, ...], list[float]] = {}

    def chance(self, share: float) -> bool:
        return self._uniform() < share

    def new_scene(self) -> None:
        sums = list(accumulate(1 / (rank + 4) for rank in range(len(lex.SCENES))))
        self._scene = lex.SCENES[self._rank(sums)]

    def noun(self, table: tuple[lex.Noun, ...]) -> lex.Noun:
        return table[self._in_scene([entry.scenes for entry in table])]

    def verb(self, table: tuple[lex.Verb, ...]) -> lex.Verb:
        return table[self._in_scene([entry.scenes for entry in table])]

    def place(self) -> lex.PlacePhrase:
        return lex.PLACES[self._in_scene([entry.scenes for entry in lex.PLACES])]

    def word(self, table: tuple[tuple[str, str], ...]) -> tuple[str, str]:
        return table[self._in_scene([lex.SCENES] * len(table))]

    def _in_scene(self, scenes: Sequence[str]) -> int:
        key = (self._scene, *scenes)
        if key not in self._sums:
            weights = [
                (1.0 if self._scene in found else ELSEWHERE) / (rank + 2)
                for rank, found in enumerate(scenes)
            ]
            self._sums[key] = list(accumulate(weights))
        return self._rank(self._sums[key])

    def _rank(self, sums: list[float]) -> int:
        return min(bisect(sums, self._uniform() * sums[-1]), len(sums) - 1)

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self._rng, dtype=torch.float64))


ARTICLES = {
    ("the", "nom"): {"m": "der", "f": "die", "n": "das"},
    ("the", "acc"): {"m": "den", "f": "die", "n": "das"},
    ("a", "nom"): {"m": "ein", "f": "eine", "n": "ein"},
    ("a", "acc"): {"m": "einen", "f": "eine", "n": "ein"},
}
ENDINGS = {
    ("the", "nom"): {"m": "e", "f": "e", "n": "e"},
    ("the", "acc"): {"m": "en", "f": "e", "n": "e"},
    ("a", "nom"): {"m": "er", "f": "e", "n": "es"},
    ("a", "acc"): {"m": "en", "f": "e", "n": "es"},
}
RELATIVE = {"m": "der", "f": "die", "n": "das"}


def noun_phrase(
    noun: lex.Noun, article: str, case: str, adjective: tuple[str, str] | None = None
) -> Pair:
    """ "a" or "the" with its noun; German inflected for "nom" or "acc"."""
    form, gender = (article, case), noun.gender
    english = [article, noun.english]
    german = [ARTICLES[form][gender], noun.german]
    if adjective is not None:
        english.insert(1, adjective[0])
        german.insert(1, adjective[1] + ENDINGS[form][gender])
    if article == "a" and english[1][0] in "aeiou":
        english[0] = "an"
    return Pair(tuple(english), tuple(german))


def _phrase(
    draw: _Draw, noun: lex.Noun, case: str, adjectives: tuple[tuple[str, str], ...]
) -> Pair:
    article = "a" if draw.chance(0.7) else "the"
    adjective = draw.word(adjectives) if draw.chance(0.45) else None
    return noun_phrase(noun, article, case, adjective)


class _Predicate(NamedTuple):
    """A verb with what belongs to it; the German verb apart, as its place depends on the clause."""

    english: Words
    verb: str
    german: Words


def _predicate(draw: _Draw, place_share: float) -> _Predicate:
    place = draw.place() if draw.chance(place_share) else None
    where, wo = (place.english, place.german) if place else ((), ())
    if draw.chance(0.6):
        verb = draw.verb(lex.WITH_OBJECT)
        thing = _phrase(draw, draw.noun(lex.THINGS), "acc", lex.OF_THINGS)
        english = ("is", verb.english, *thing.english, *where)
        return _Predicate(english, verb.german, (*wo, *thing.german))
    verb = draw.verb(lex.WITHOUT_OBJECT)
    return _Predicate(("is", verb.english, *where), verb.german, wo)


def _sentence(draw: _Draw) -> Pair:
    """Subject (with a relative clause), predicate, perhaps an adverb or a clause with `while`."""
    draw.new_scene()
    noun = draw.noun(lex.AGENTS)
    subject = _phrase(draw, noun, "nom", lex.OF_AGENTS)
    if draw.chance(0.2):
        worn = _phrase(draw, draw.noun(lex.CLOTHES), "acc", lex.OF_THINGS)
        clause = Pair(
            ("who", "is", "wearing", *worn.english),
            (RELATIVE[noun.gender], *worn.german, "trägt"),
        )
        subject = Pair(subject.english + clause.english, subject.german + clause.german)
    said = _predicate(draw, 0.65)
    if draw.chance(0.25):
        when, wann = draw.word(lex.TIMES)
        english = (*subject.english, *said.english, when)
        german = (wann, said.verb, *subject.german, *said.german)
    else:
        english = (*subject.english, *said.english)
        german = (*subject.german, said.verb, *said.german)
    if draw.chance(0.25):
        other = _phrase(draw, draw.noun(lex.AGENTS), "nom", lex.OF_AGENTS)
        aside = _predicate(draw, 0.3)
        english += ("while", *other.english, *aside.english)
        german += ("während", *other.german, *aside.german, aside.verb)
    return Pair((*english, "."), (*german, "."))
