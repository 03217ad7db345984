"""Training a translator: what the decoder is fed, that it learns, that a frozen body stays."""

import torch

from splitlab.data.text.vocabulary import BEGIN, END, PAD
from splitlab.models.seq2seq import Seq2Seq, Seq2SeqSpec
from splitlab.storage import hash_tensors
from splitlab.training.translator import fed, train_translator

SPEC = Seq2SeqSpec(
    source_words=9,
    target_words=9,
    source_length=4,
    target_length=4,
    width=16,
    heads=2,
    layers=1,
    feedforward=32,
    dropout=0.0,
)


def pairs(rows=64):
    """Two words each; the translation turns them round."""
    words = torch.randint(4, 9, (rows, 2), generator=torch.Generator().manual_seed(0))
    ends = torch.tensor([END, PAD]).expand(rows, 2)
    return torch.cat([words, ends], 1), torch.cat([words.flip(1), ends], 1)


def train(net, epochs):
    return train_translator(
        net.head,
        net.body,
        net.tail,
        *pairs(),
        epochs=epochs,
        batch_size=16,
        learning_rate=1e-2,
        seed=0,
        device="cpu",
    )


def test_the_decoder_is_fed_what_came_before():
    source, target = torch.tensor([[4, 5, END, PAD]]), torch.tensor([[6, 7, END, PAD]])
    assert fed(source, target).tolist() == [[4, 5, END, PAD, BEGIN, 6, 7, END]]


def test_it_learns_to_turn_words_round():
    net = Seq2Seq(SPEC, 0)
    losses = train(net, 30).losses["words"]
    assert losses[-1] < 0.1 < losses[0]
    source, target = pairs()
    with torch.no_grad():
        read = net.eval()(fed(source, target)).argmax(2)
    assert float((read == target)[:, :2].float().mean()) > 0.95


def test_a_frozen_body_stays_as_it_is():
    net = Seq2Seq(SPEC, 0)
    net.body.eval().requires_grad_(False)
    before = hash_tensors(net.body.state_dict())
    embedding = net.head.source.weight.detach().clone()
    train(net, 2)
    assert hash_tensors(net.body.state_dict()) == before
    assert not net.body.training
    assert not torch.equal(net.head.source.weight, embedding)
