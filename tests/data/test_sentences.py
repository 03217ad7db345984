"""Sentences of the grammar: repeatable, disjoint, inflected; corpora; words to numbers and back."""

import pytest
import torch

from splitlab.data.text import lexicon as lex
from splitlab.data.text.sentences import Pair, corpus_splits, grammar_splits, noun_phrase, tokenise
from splitlab.data.text.vocabulary import END, PAD, SPECIAL, UNKNOWN, Vocabulary
from splitlab.errors import BadInput, Unavailable

SIZES = {"train": 300, "auxiliary": 200, "validation": 20, "victims": 50}


def test_a_seed_repeats_the_sentences_and_another_does_not():
    first, again, other = (grammar_splits(**SIZES, seed=seed) for seed in (0, 0, 1))
    assert first.hash == again.hash != other.hash
    assert [len(getattr(first, name)) for name in SIZES] == list(SIZES.values())


def test_no_sentence_is_in_two_partitions():
    splits = grammar_splits(**SIZES)
    everything = [pair.english for name in SIZES for pair in getattr(splits, name)]
    assert len(set(everything)) == len(everything)
    doubled = {**vars(splits), "victims": splits.train[:1]}
    with pytest.raises(BadInput, match=r"is in train and in victims"):
        type(splits)(**doubled).check_disjoint()


def test_words_are_unevenly_frequent_and_go_with_scenes():
    pairs = grammar_splits(**{**SIZES, "train": 2_000}).train
    words = [word for pair in pairs for word in pair.english]
    assert words.count("man") > 5 * max(1, words.count("carpenter"))
    there = [p.english for p in pairs if "market" in p.english or "station" in p.english]
    typical = sum("bag" in p or "phone" in p for p in there)
    assert typical > 2 * sum("guitar" in p or "bread" in p for p in there)


@pytest.mark.parametrize(
    ("noun", "article", "case", "adjective", "english", "german"),
    [
        ("dog", "a", "nom", "old:alt", "an old dog", "ein alter Hund"),
        ("dog", "a", "acc", "old:alt", "an old dog", "einen alten Hund"),
        ("dog", "the", "acc", "old:alt", "the old dog", "den alten Hund"),
        ("woman", "the", "nom", "tall:groß", "the tall woman", "die große Frau"),
        ("girl", "a", "nom", "tall:groß", "a tall girl", "ein großes Mädchen"),
        ("uncle", "a", "nom", None, "an uncle", "ein Onkel"),
    ],
)
def test_german_is_inflected(noun, article, case, adjective, english, german):
    entry = next(entry for entry in lex.AGENTS if entry.english == noun)
    pair = noun_phrase(entry, article, case, tuple(adjective.split(":")) if adjective else None)
    assert pair == Pair(tuple(english.split()), tuple(german.split()))


def test_german_order_is_not_english_order():
    pairs = grammar_splits(**SIZES).train
    for pair in pairs:
        if "while" in pair.english and "wearing" not in pair.english:
            last = pair.german[-2]
            assert last in {v.german for v in (*lex.WITH_OBJECT, *lex.WITHOUT_OBJECT)}
    times = dict(lex.TIMES)
    adverbial = [p for p in pairs if p.english[-2] in times]
    assert adverbial
    assert all(p.german[0] == times[p.english[-2]] for p in adverbial)


def test_a_corpus_is_read_and_parted(tmp_path):
    lines = [f"Sentence number {n} runs ." for n in range(150)]
    (tmp_path / "train.en").write_text("\n".join([*lines, lines[0]]))
    (tmp_path / "train.de").write_text("\n".join(f"Satz {n} läuft ." for n in [*range(150), 0]))
    splits = corpus_splits(tmp_path)
    assert (len(splits.train), len(splits.auxiliary), len(splits.victims)) == (75, 60, 9)
    assert set(splits.english.words) - set(SPECIAL) == {"sentence", "number", "runs", "."}


def test_a_corpus_that_is_not_there_or_does_not_fit(tmp_path):
    with pytest.raises(Unavailable, match=r"train\.en is not there"):
        corpus_splits(tmp_path)
    (tmp_path / "train.en").write_text("one\ntwo")
    (tmp_path / "train.de").write_text("eins")
    with pytest.raises(BadInput, match=r"2 lines and train\.de 1"):
        corpus_splits(tmp_path)
    (tmp_path / "train.de").write_text("eins\nzwei")
    with pytest.raises(BadInput, match="at least 100"):
        corpus_splits(tmp_path)


def test_empty_partitions_are_refused():
    with pytest.raises(BadInput, match="at least one"):
        grammar_splits(**{**SIZES, "victims": 0})


def test_tokens_are_words_and_marks():
    assert " ".join(tokenise("A man's dog, über-alt.")) == "a man ' s dog , über - alt ."


def test_words_become_numbers_and_words_again():
    vocabulary = Vocabulary.of([("b", "a", "b"), ("c",)], least=1)
    assert vocabulary.words == (*SPECIAL, "a", "b", "c")
    tokens = vocabulary.encode([("a", "zebra"), ("a", "b", "c", "a")], 4)
    assert tokens.tolist() == [[4, UNKNOWN, END, PAD], [4, 5, 6, END]]
    assert vocabulary.decode(tokens[1]) == "a b c"
    assert vocabulary.decode(torch.tensor([4, END, 5])) == "a"
    assert Vocabulary.of([("b", "a", "b")], least=2).words == (*SPECIAL, "b")


def test_a_vocabulary_names_each_word_once():
    with pytest.raises(BadInput, match="every word once"):
        Vocabulary((*SPECIAL, "a", "a"))
    with pytest.raises(BadInput, match="length=1"):
        Vocabulary(SPECIAL).encode([("a",)], 1)
