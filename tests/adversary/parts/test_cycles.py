"""Learning in cycles: when it stops, what it keeps, and a decoder that learns so."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from worlds import AUX, INPUT, VICTIMS, Killed, Watch, capture, tiny_head

from adversary.contract.attack import seed_of
from adversary.contract.workplace import Workplace
from adversary.inversion import decoder
from adversary.inversion.decoder import (
    HELD_OUT,
    SHARE,
    Decoder,
    cycles_of,
    fit_decoder,
    held_out,
    learn_inverse,
)
from adversary.parts.cycles import GAIN, learn_in_cycles, still_gaining
from adversary.parts.pairs import given_pairs
from splitlab.errors import BadInput
from splitlab.metrics import psnr
from splitlab.training import batch_count


def learned(errors, most):
    """(cycles made, errors told, number of the cycle whose weights were kept; 0 before the first).

    The net's one weight says how many cycles it has seen; `errors` are by that number.
    """
    net, made = nn.Linear(1, 1, bias=False), []
    nn.init.zeros_(net.weight)

    def cycle(number):
        made.append(number)
        with torch.no_grad():
            net.weight += 1

    told = learn_in_cycles(
        net, cycle, None if errors is None else lambda: errors[int(net.weight)], most
    )
    return made, told, int(net.weight)


SMALL = 1 - 0.9 * GAIN
"""What is left of an error after a gain that is too small."""


@pytest.mark.parametrize(
    ("errors", "most", "cycles", "kept"),
    [
        ([1.0, 0.5, 0.25, 0.1], 3, 3, 3),  # each gains
        ([1.0, 0.5, 0.5 * SMALL, 0.1], 3, 2, 2),  # little: the last, and it is kept
        ([1.0, 0.5, 0.6, 0.1], 3, 2, 1),  # a loss: the last, and it is not
        ([1.0, SMALL, 0.5, 0.4], 3, 3, 3),  # the first may gain little
        ([1.0, 2.0, 1.5, 1.49], 3, 3, 0),  # nothing was better than before
        ([1.0, 0.5, 0.2], 1, 1, 1),
    ],
)
def test_cycles_end_where_little_is_gained_and_the_best_weights_are_kept(
    errors, most, cycles, kept
):
    made, told, best = learned(errors, most)
    assert made == list(range(cycles))
    assert told == errors[: cycles + 1]
    assert best == kept


@pytest.mark.parametrize(
    ("errors", "most", "doubted"),
    [
        ([1.0, 0.5, 0.2], 2, "60 %"),  # the number of cycles ended it
        ([1.0, 0.5, 0.5 * SMALL], 2, ""),  # it gained too little to go on
        ([1.0, 0.5, 0.5 * SMALL], 3, ""),
        ([1.0, 0.0, 0.0], 2, ""),
        ([1.0, 0.5, 0.6], 2, ""),
        ([], 2, ""),
    ],
)
def test_cycles_that_still_gained_at_their_end_are_doubted(errors, most, doubted):
    found = still_gaining(errors, most)
    assert len(found) == bool(doubted)
    for doubt in found:
        assert doubt == (
            f"truncated: the last of {most} cycles still lowered the error on held-out images by "
            f"{doubted}"
        )


def test_a_decoder_that_still_gained_says_so(monkeypatch):
    monkeypatch.setattr(decoder, "_error", lambda *_, left=[8.0, 4.0, 2.0, 1.0]: left.pop(0))
    monkeypatch.setattr(decoder, "EPOCHS", 3)
    monkeypatch.setattr(decoder, "STEPS", 1)
    found = fit_decoder(AUX.images.images[:40], FEATURES[:40], rng(), Decoder(**QUICK))
    assert found.facts["held_out_mse"] == [8.0, 4.0, 2.0, 1.0]
    assert found.doubts == [
        "truncated: the last of 3 cycles still lowered the error on held-out images by 50 %"
    ]


def test_the_default_weighs_similarity_and_the_papers_do_not(monkeypatch):
    """What it minimises at its first step: with 1 - SSIM, and without."""
    monkeypatch.setattr(decoder, "EPOCHS", 1)
    monkeypatch.setattr(decoder, "STEPS", 1)
    losses = {}
    for weight in (Decoder().ssim, 0.0):
        attack = Decoder(**{**QUICK, "batch_size": 40, "ssim": weight, "epochs": 1})
        found = fit_decoder(AUX.images.images[:40], FEATURES[:40], rng(), attack)
        [losses[weight]] = found.facts["losses"]
    assert Decoder().ssim == 0.1
    assert Decoder.configured({"preset": "he2019"}).ssim == 0
    assert 0 < losses[0.1] - losses[0.0] < 0.1


def test_without_an_error_all_cycles_are_made():
    assert learned(None, 3) == ([0, 1, 2], [], 3)


HEAD = tiny_head("block2")
FEATURES = capture(HEAD, pixels=AUX.images.floats())
QUICK = {"width": 4, "depth": 0, "batch_size": 16}


def rng():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def brief(monkeypatch):
    """Cycles of two epochs."""
    monkeypatch.setattr(decoder, "EPOCHS", 2)
    monkeypatch.setattr(decoder, "STEPS", 1)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("pairs", [2, 9, 10, 40])
def test_few_pairs_are_learned_from_all_of_them_or_from_all_but_those_held_out(pairs):
    watch = Watch()
    attack = Decoder(**QUICK)
    given = given_pairs(AUX.images.images[:pairs], FEATURES[:pairs])
    found = learn_inverse(given, attack, rng(), Workplace(progress=watch))
    kept = held_out(pairs, attack.cycles(INPUT.size))
    assert kept == pairs // 10
    assert found.facts.get("held_out", 0) == kept
    epochs = attack.passes(pairs - kept, INPUT.size).epochs
    assert set(watch.totals) == {epochs * (pairs - kept)}
    assert watch.names == [f"decoder, cycle {n + 1}" for n in range(len(watch.names))]
    most = attack.learned_images(pairs, INPUT.size)
    assert sum(watch.totals) <= most
    if not kept:
        assert sum(watch.totals) == most
        assert "held_out_mse" not in found.facts
    else:
        errors = found.facts["held_out_mse"]
        assert len(errors) == len(watch.names) + 1
        assert decoder._error(found.net, *held(pairs, kept)) == pytest.approx(min(errors))


def chosen(pairs, kept):
    """Which of the pairs are held out: the first that the attack's own generator draws."""
    draw = torch.Generator().manual_seed(seed_of(rng()))
    return torch.randperm(pairs, generator=draw)[:kept]


def held(pairs, kept):
    rows = chosen(pairs, kept)
    return AUX.images.floats()[rows], FEATURES[rows]


@pytest.mark.parametrize("kept_whole", [True, False])
@pytest.mark.usefixtures("brief")
def test_pairs_that_lie_class_by_class_are_held_out_of_all_classes(kept_whole, monkeypatch):
    """Of the images of each class, all of one brightness, about as many as of another."""
    classes, each = 4, 40
    levels = torch.arange(classes, dtype=torch.uint8).repeat_interleave(each) * 60
    images = levels.view(-1, 1, 1, 1).expand(-1, 3, 16, 16).contiguous()
    pairs = given_pairs(images, images.float() / 255)
    if not kept_whole:
        pairs = replace(pairs, features=None, head=nn.Identity())
    held_rows = []

    def error(_, pixels, seen):
        assert torch.equal(pixels, seen), "an image with its own feature"
        held_rows.append(pixels[:, 0, 0, 0].mul(255 / 60).round().int().tolist())
        return 1.0

    monkeypatch.setattr(decoder, "_error", error)
    for _ in range(2):
        found = learn_inverse(pairs, Decoder(**QUICK), rng())
        assert found.facts["held_out"] == classes * each // SHARE
    assert len(set(map(tuple, held_rows))) == 1, "decided by the attack's own randomness"
    counts = torch.bincount(torch.tensor(held_rows[0]), minlength=classes)
    assert (counts > 0).all()


@pytest.mark.parametrize("pairs", [SHARE * HELD_OUT + SHARE, 100 * SHARE * HELD_OUT])
def test_no_more_are_held_out_than_tell_when_to_stop(pairs):
    assert held_out(pairs, 2) == held_out(SHARE * HELD_OUT, 2) == HELD_OUT
    assert held_out(pairs, 1) == 0


@pytest.mark.parametrize("pairs", [200, 1500, 20_000])
def test_a_default_decoder_makes_300_steps_at_least(pairs):
    """Even where its first cycle gains nothing."""
    attack = Decoder()
    kept = held_out(pairs, attack.cycles(32))
    epochs, rows = attack.passes(pairs - kept, 32)
    assert rows == pairs - kept
    cycles = len(learned([1.0] * 9, cycles_of(kept, attack.cycles(32)))[0])
    assert cycles * epochs * batch_count(rows, attack.batch_size) >= 300


def test_one_pair_is_refused():
    with pytest.raises(BadInput, match="1 images to learn from; grant it at least 2"):
        fit_decoder(AUX.images.images[:1], FEATURES[:1], rng())


@pytest.mark.parametrize(("epochs", "size"), [(3, 16), (0, 16), (2, 128)])
def test_given_epochs_are_learned_exactly(epochs, size):
    attack = Decoder(epochs=epochs)
    assert attack.learned_images(100, size) == 100 * epochs
    assert (attack.cycles(size), held_out(100, attack.cycles(size))) == (1, 0)


@pytest.mark.usefixtures("brief")
def test_what_is_held_out_teaches_nothing_not_even_the_linear_start():
    """With other held-out images the same network is learned, up to when it stops."""
    images, rows = AUX.images.images[:40].clone(), chosen(40, 4)
    learned = []
    for other in (False, True):
        if other:
            images[rows] = 255 - images[rows]
        attack = Decoder(**QUICK, epochs=0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Decoder, "cycles", lambda *_: 2)
            found = learn_inverse(given_pairs(images, FEATURES[:40]), attack, rng())
        assert found.facts["held_out"] == 4
        learned.append(found.net.state_dict())
    for name, weights in learned[0].items():
        assert torch.equal(weights, learned[1][name]), name


@pytest.mark.usefixtures("brief")
def test_a_decoder_killed_in_its_second_cycle_continues_to_the_same_answer(tmp_path):
    pairs, attack = given_pairs(AUX.images.images[:40], FEATURES[:40]), Decoder(**QUICK)

    def learn(place, watch):
        work = Workplace(progress=watch, checkpoint=place and place / "fit.pt")
        found = learn_inverse(pairs, attack, rng(), work)
        return found, found(capture(HEAD))

    whole, answer = learn(None, Watch())
    steps = 2 * 3  # of 36 pairs, 16 a step: two epochs make a cycle
    with pytest.raises(Killed):
        learn(tmp_path, Watch(kill_after=steps + 4))
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["fit-2.pt", "fit.pt"]
    again = Watch()
    continued, same = learn(tmp_path, again)
    assert torch.equal(answer, same)
    assert continued.facts == whole.facts


@pytest.mark.usefixtures("brief")
def test_cycles_of_a_decoder_improve_on_its_start():
    attack = Decoder(width=8, depth=0, batch_size=32)
    found = fit_decoder(AUX.images.images, FEATURES, rng(), attack)
    errors = found.facts["held_out_mse"]
    assert min(errors) < errors[0]
    answers = found(capture(HEAD))
    linear = fit_decoder(
        AUX.images.images, FEATURES, rng(), attack.model_copy(update={"epochs": 0})
    )
    before = linear(capture(HEAD))
    assert float(psnr(VICTIMS, answers).mean()) > float(psnr(VICTIMS, before).mean())
