"""Text attacks where the answer is known: orthogonal embeddings, a cipher of the grammar."""

import pytest
import torch
from torch import nn

from adversary.contract.text_threat import Sentences, TextThreat
from adversary.inversion.text.cipher import read_cipher
from adversary.inversion.text.shadow import (
    TextShadow,
    features_of,
    fit_decoder,
    fit_shadow,
    likely_words,
    read_words,
)
from adversary.inversion.text.substitution import Decipher
from splitlab.data.text.sentences import grammar_splits
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.training.translator import fed

SPEC = Seq2SeqSpec(
    source_words=10,
    target_words=10,
    source_length=4,
    target_length=4,
    width=16,
    heads=2,
    layers=1,
    feedforward=16,
    dropout=0.0,
)


def sentences(rows=64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return Sentences(*(torch.randint(4, 10, (rows, 4), generator=rng) for _ in range(2)))


def test_a_decoder_reads_one_hot_embeddings():
    head = Seq2Seq(SPEC, 0).head.eval()
    nn.init.eye_(head.source.weight)
    own, victims = sentences(256), sentences(20, seed=1)
    settings = TextShadow(decoder_epochs=12, batch_size=32, decoder_rate=3e-2)
    decoder = fit_decoder(features_of(head, own), own.source, SPEC, settings, seed=0, device="cpu")
    assert read_words(decoder, features_of(head, victims)).equal(victims.source)


def test_a_decoder_of_other_embeddings_reads_nothing():
    own, victims = sentences(256), sentences(200, seed=1)
    first, other = (Seq2Seq(SPEC, seed).head.eval() for seed in (0, 1))
    settings = TextShadow(decoder_epochs=10, batch_size=32, decoder_rate=3e-2, hidden=32)
    decoder = fit_decoder(features_of(first, own), own.source, SPEC, settings, seed=0, device="cpu")
    own_share = (read_words(decoder, features_of(first, victims)) == victims.source).float().mean()
    share = (read_words(decoder, features_of(other, victims)) == victims.source).float().mean()
    assert own_share > 0.95
    assert share < 0.45


def test_the_shadow_learns_around_the_body_and_leaves_it_as_it_is():
    net = Seq2Seq(SPEC, 0)
    threat = TextThreat(SPEC, net.body, sentences())
    before = threat.fingerprint()
    settings = TextShadow(epochs=8, batch_size=16, learning_rate=1e-2, decoder_epochs=1)
    shadow = fit_shadow(threat, settings, seed=7, device="cpu")
    assert shadow.losses[-1] < shadow.losses[0]
    assert threat.fingerprint() == before
    assert not torch.equal(shadow.net.head.source.weight, net.head.source.weight)
    assert not shadow.net.training


def test_the_floor_is_the_commonest_word_of_each_place():
    source = torch.tensor([[4, 5], [4, 6], [7, 6]])
    assert likely_words(source).tolist() == [4, 6]


def test_a_cipher_of_the_grammar_is_read_without_body_or_query():
    splits = grammar_splits(train=1_500, auxiliary=1_500, validation=1, victims=150)
    spec = Seq2SeqSpec(
        source_words=len(splits.english),
        target_words=len(splits.german),
        source_length=18,
        target_length=18,
        width=32,
    )

    def tokens(pairs):
        return Sentences(
            splits.english.encode([p.english for p in pairs], 18),
            splits.german.encode([p.german for p in pairs], 18),
        )

    victims, own = tokens(splits.victims), tokens(splits.auxiliary)
    with torch.no_grad():
        features = Seq2Seq(spec, 0).eval().head(fed(victims.source, victims.target))
    threat = TextThreat(spec=spec, auxiliary=own)
    read = read_cipher(threat, features, Decipher(steps=20), both=False)
    words = victims.source > 3
    floor = likely_words(own.source).expand_as(victims.source)
    share = float((read.words == victims.source)[words].float().mean())
    assert share > 0.6 > 2 * float((floor == victims.source)[words].float().mean())
    assert read.symbols == len(victims.source.unique())
    blind = features[torch.randperm(len(features))] * 0 + torch.randn(features.shape)
    with pytest.raises(BadInput, match="less noise"):
        read_cipher(threat, blind, Decipher(steps=2), both=False)


def test_what_is_not_granted_is_refused():
    with pytest.raises(MissingKnowledge, match="'body'"):
        fit_shadow(TextThreat(SPEC, auxiliary=sentences()), TextShadow(), seed=0)
    with pytest.raises(MissingKnowledge, match="'auxiliary'"):
        read_cipher(TextThreat(SPEC), torch.zeros(1, 8, 16), Decipher())
    huge = TextThreat(SPEC.model_copy(update={"target_words": 60_000}), auxiliary=sentences())
    with pytest.raises(BadInput, match="60010 words are too many"):
        read_cipher(huge, torch.zeros(1, 8, 16), Decipher())
    assert TextThreat(SPEC).granted == ["spec"]


def test_sentences_come_in_pairs():
    with pytest.raises(BadInput, match="2 source and 1 target"):
        Sentences(torch.zeros(2, 4).long(), torch.zeros(1, 4).long())
