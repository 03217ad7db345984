"""Text attacks where the answer is known: orthogonal embeddings, a cipher of the grammar."""

import pytest
import torch
from torch import nn

from adversary.contract.attack import run_attack
from adversary.contract.threat import AuxSentences, Observed, ThreatModel
from adversary.inversion.text.cipher import Cipher, read_cipher
from adversary.inversion.text.decoder import WordDecoder
from adversary.inversion.text.shadow import TextShadow, fit_shadow
from adversary.inversion.text.substitution import Decipher
from adversary.inversion.text.words import (
    WordDecoding,
    features_of,
    fit_decoder,
    likeliest,
    read_words,
)
from splitlab.contracts import ArchSpec, Features, FeatureSpec
from splitlab.data.text.sentences import grammar_splits
from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import SPECIAL, Vocabulary
from splitlab.errors import BadInput, MissingKnowledge, Unavailable
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
    settings = WordDecoding(decoder_epochs=12, batch_size=32, decoder_rate=3e-2)
    decoder = fit_decoder(features_of(head, own), own.source, 10, settings, seed=0, device="cpu")
    assert read_words(decoder, features_of(head, victims)).equal(victims.source)


def test_a_decoder_of_other_embeddings_reads_nothing():
    own, victims = sentences(256), sentences(200, seed=1)
    first, other = (Seq2Seq(SPEC, seed).head.eval() for seed in (0, 1))
    settings = WordDecoding(decoder_epochs=10, batch_size=32, decoder_rate=3e-2, hidden=32)
    decoder = fit_decoder(features_of(first, own), own.source, 10, settings, seed=0, device="cpu")
    own_share = (read_words(decoder, features_of(first, victims)) == victims.source).float().mean()
    share = (read_words(decoder, features_of(other, victims)) == victims.source).float().mean()
    assert own_share > 0.95
    assert share < 0.45


WORDS = Vocabulary((*SPECIAL, *"abcdef"))


def granted(net=None, spec=SPEC, own=None, **more):
    own = own or sentences()
    return ThreatModel(
        feature=FeatureSpec(shape=spec.feature_shape),
        arch=ArchSpec(name="seq2seq", arguments=spec.model_dump()),
        bodies=nn.ModuleList([net.body]) if net is not None else None,
        sentences=AuxSentences(own, own.first(9), WORDS, WORDS),
        **more,
    )


def seen(head, victims):
    with torch.no_grad():
        features = head.eval()(fed(victims.source, victims.target))
    return Features(tuple(map(str, range(len(victims)))), features)


def rng(seed=6):
    return torch.Generator().manual_seed(seed)


def test_the_shadow_learns_around_the_body_and_leaves_it_as_it_is():
    net, own = Seq2Seq(SPEC, 0), sentences()
    threat = granted(net)
    before = threat.fingerprint()
    settings = TextShadow(epochs=8, batch_size=16, learning_rate=1e-2, decoder_epochs=1)
    shadow, losses = fit_shadow(SPEC, threat.bodies[0], own, settings, seed=7, device="cpu")
    assert losses[-1] < losses[0]
    assert threat.fingerprint() == before
    assert not torch.equal(shadow.head.source.weight, net.head.source.weight)
    assert not shadow.training
    outcome = run_attack(settings, threat, seen(net.head, own), rng())
    told = outcome.estimate.extra
    assert told["losses"] == losses  # under the seed behind the given one
    assert len(told["own_sentences"]) == 6
    assert set(told["own_sentences"][0]["sentence"].split()) <= set("abcdef")


def test_a_shadow_reads_a_client_that_has_its_embeddings_and_no_other():
    """Its weights are drawn under the seed behind the given one, and learn nothing here."""
    net, own, victims = Seq2Seq(SPEC, 7), sentences(256), sentences(50, seed=1)
    attack = TextShadow(epochs=0, batch_size=32, decoder_epochs=12, decoder_rate=3e-2, hidden=32)
    shares = {}
    for seed in (6, 7):
        outcome = run_attack(attack, granted(net, own=own), seen(net.head, victims), rng(seed))
        shares[seed] = float((outcome.estimate.values == victims.source).float().mean())
        assert outcome.estimate.extra["own_words_read"] > 90
    assert shares[6] > 0.95
    assert shares[7] < 0.5


def test_the_decoder_with_queries_reads_what_it_learned_on():
    head, own, victims = Seq2Seq(SPEC, 0).head, sentences(256), sentences(20, seed=1)
    nn.init.eye_(head.source.weight)
    attack = WordDecoder(decoder_epochs=12, batch_size=32, decoder_rate=3e-2)
    asked = Observed(own, seen(head, own).features)
    threat = granted(observe=asked)
    before = threat.fingerprint()
    outcome = run_attack(attack, threat, seen(head, victims), rng())
    assert outcome.estimate.values.equal(victims.source)
    assert outcome.effort["queries"] == 256
    own.target[0, 0] += 1
    assert threat.fingerprint() != before  # the sentences that were asked are granted, too


def test_the_floor_is_the_commonest_word_of_each_place():
    source = torch.tensor([[4, 5], [4, 6], [7, 6]])
    assert likeliest(Sentences(source, source)).tolist() == [4, 6]


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
    read, symbols = read_cipher(spec, own, features, Decipher(steps=20), both=False)
    words = victims.source > 3
    floor = likeliest(own).expand_as(victims.source)
    share = float((read == victims.source)[words].float().mean())
    assert share > 0.6 > 2 * float((floor == victims.source)[words].float().mean())
    assert len(symbols.centres) == len(victims.source.unique())
    blind = features[torch.randperm(len(features))] * 0 + torch.randn(features.shape)
    with pytest.raises(BadInput, match="less noise"):
        read_cipher(spec, own, blind, Decipher(steps=2), both=False)
    hidden = Features(tuple(map(str, range(len(victims)))), blind)
    answer = run_attack(Cipher(steps=2), granted(spec=spec, own=own), hidden, rng()).estimate
    assert answer.values.equal(floor)
    assert "less noise; it answered the most frequent words" in answer.doubts[0]


def test_what_is_not_granted_is_refused():
    arch = granted().arch
    with pytest.raises(MissingKnowledge, match="'bodies'"):
        TextShadow().fit(granted(), rng())
    with pytest.raises(MissingKnowledge, match="'sentences'"):
        Cipher().fit(ThreatModel(arch=arch), rng())
    with pytest.raises(MissingKnowledge, match="'arch'"):
        WordDecoder().fit(ThreatModel(), rng())
    huge = granted(spec=SPEC.model_copy(update={"target_words": 60_000}))
    with pytest.raises(Unavailable, match="60010 words are too many"):
        Cipher().fit(huge, rng())
    Cipher(both=False).fit(huge, rng())


def test_sentences_come_in_pairs():
    with pytest.raises(BadInput, match="2 source and 1 target"):
        Sentences(torch.zeros(2, 4).long(), torch.zeros(1, 4).long())
    some = Sentences(torch.tensor([[0, 3], [4, 2]]), torch.tensor([[5, 2], [6, 2]]))
    assert some.worded.tokens.tolist() == [[4, 2, 6, 2]]
