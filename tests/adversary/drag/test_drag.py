"""The attack: better than the floor, what it starts from, what it doubts, wrong inputs."""

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from worlds import AUX, VICTIMS, Orthogonal, capture, images, outcome, quality, threat, tiny_head

from adversary.contract.attack import run_attack
from adversary.contract.believed import certain
from adversary.contract.threat import AuxImages
from adversary.inversion.decoder import Decoder
from adversary.inversion.drag import sampler
from adversary.inversion.drag.attack import Drag
from adversary.inversion.drag.choice import STRENGTHS, UNCHOSEN, choose_strength
from adversary.inversion.drag.doubts import LEARNED_FROM, cut, doubts_of, few, whole
from adversary.inversion.drag.feature_noise import LEAST_NOISE, noise_of
from adversary.inversion.drag.schedule import visited
from adversary.inversion.mean_image import MeanImage
from splitlab.contracts import Features
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.randomness import generator
from splitlab.training import Rehearsal

HEAD = tiny_head("block2")
QUICK = {"steps": 10, "inner": 5, "samples": 2, "train_steps": 30, "width": 8, "batch_size": 16}


class Blank(torch.nn.Module):
    def forward(self, x):
        return 0 * x[:, :, ::2, ::2] + 1


class Lost(NamedTuple):
    """A descent that has left the image for grey."""

    values: torch.Tensor

    @property
    def blind(self):
        return torch.zeros(len(self.values), dtype=torch.bool)


def drag(**options):
    return Drag.configured({**QUICK, **options})


@pytest.mark.parametrize(("start", "point"), [("noise", "block1"), ("decoder", "block2")])
def test_it_beats_the_floor(start, point):
    head = tiny_head(point)
    model = threat(head, known="unaware")
    floor = quality(outcome(MeanImage(), model, capture(head)))
    done = outcome(drag(start=start, steps=20, inner=20), model, capture(head))
    assert quality(done) > floor + 3
    assert done.estimate.extra["start"] == start


def test_validation_images_choose_how_much_of_the_start_is_left(monkeypatch):
    """It is no worse than its start, which stays where the prior would spoil it."""
    model, seen = threat(HEAD, known="unaware"), capture(HEAD)
    chosen = outcome(drag(), model, seen)
    start = outcome(drag(strength=0), model, seen)
    told = chosen.estimate.extra["chosen_by_psnr"]
    assert set(told) == {"0", *map(str, STRENGTHS)}
    assert chosen.estimate.extra["strength"] in (0, *STRENGTHS)
    assert quality(chosen) >= quality(start)
    monkeypatch.setattr(sampler, "minimise", lambda _loss, guess, _count: Lost(guess * 0))
    spoilt = outcome(drag(), model, seen)
    assert spoilt.estimate.extra["strength"] == 0
    assert torch.equal(spoilt.estimate.values, start.estimate.values)


def test_a_gain_within_chance_is_none():
    truth, start = torch.full((4, 3, 8, 8), 0.5), torch.full((4, 3, 8, 8), 0.6)
    better, mixed = torch.full_like(start, 0.55), start.clone()
    mixed[0], mixed[1] = 0.5001, 0.9
    given = {0.05: mixed, 0.1: better, 0.2: start, 0.4: truth * torch.nan}
    found, told = choose_strength(given.__getitem__, truth, start)
    assert found == 0.1
    assert told["0"] == pytest.approx(20, abs=0.01)
    assert told["0.1"] == pytest.approx(26.02, abs=0.01)
    assert choose_strength(lambda _: mixed, truth, start)[0] == 0


@pytest.mark.parametrize("count", [0, 1])
def test_where_nothing_can_choose_the_strength_is_the_papers(count):
    few_kept = AuxImages(AUX.images, AUX.validation.subset(range(count)), AUX.kind)
    model = replace(threat(HEAD, known="unaware"), aux=few_kept)
    found = outcome(drag(train_steps=1), model, capture(HEAD)).estimate
    assert found.extra["strength"] == 0.3
    assert "chosen_by_psnr" not in found.extra


@pytest.mark.parametrize("layout", ["map", "grid", "vector"])
def test_it_finds_the_inverse_of_an_orthogonal_head(layout):
    """By the descent, however little the prior knows."""
    head = Orthogonal(layout)
    done = outcome(drag(start="noise"), threat(head, known="unaware"), capture(head))
    assert quality(done) > 40


def test_nothing_is_found_where_nothing_is_sent():
    noise = torch.randn(capture(HEAD).shape, generator=torch.Generator().manual_seed(0))
    model = threat(HEAD, known="unaware")
    floor = quality(outcome(MeanImage(), model, noise))
    assert quality(outcome(drag(start="noise"), model, noise)) < floor


def test_a_victim_is_answered_alike_in_any_company():
    attack, model = drag(start="noise"), threat(HEAD, known="unaware")
    answer = attack.fit(model, generator(0, "attack"))
    seen = capture(HEAD)
    whole = answer(Features(tuple("abcdefgh"), seen)).values
    turned = answer(Features(tuple("hgfedcba"), seen.flip(0))).values.flip(0)
    torch.testing.assert_close(whole, turned, rtol=0, atol=0.02)
    assert float((whole - turned).square().mean().sqrt()) < 1e-3


def test_it_starts_from_the_decoder_where_that_can_learn():
    assert Drag().starts_from == (Decoder(),)
    assert Drag(start="noise").starts_from == ()
    one = AuxImages(images(2, 1), AUX.validation, AUX.kind)
    model = replace(threat(HEAD, known="unaware"), aux=one)
    found = outcome(drag(train_steps=1), model, capture(HEAD)).estimate
    assert found.extra["start"] == "decoder"
    assert found.extra["start_feature_loss"] > 0
    assert any("learned from 2 images; 1000 or more" in doubt for doubt in found.doubts)


def test_few_images_are_a_doubt_and_enough_are_none():
    assert few(LEARNED_FROM) == []
    assert "prior=FOLDER" in few(LEARNED_FROM - 1)[0]


def test_what_it_doubts_of_an_answer():
    sighted = torch.zeros(4, dtype=torch.bool)
    assert doubts_of(0.1, 0.5, 0, sighted) == []
    assert doubts_of(0.1, None, 0, sighted) == []
    assert "diverged: 2 of 4" in doubts_of(0.1, None, 2, sighted)[0]
    assert "no nearer than those of its start" in doubts_of(0.5, 0.5, 0, sighted)[0]
    assert "zero gradient: 4 of 4" in doubts_of(0.1, None, 0, ~sighted)[0]


def test_a_head_that_sees_nothing_raises_a_doubt():
    model = threat(Blank(), known="unaware")
    done = outcome(drag(start="noise", train_steps=1), model, capture(Blank()))
    assert any("zero gradient: 8 of 8" in doubt for doubt in done.estimate.doubts)


def test_an_image_that_diverged_is_the_starts_or_grey():
    answers = torch.rand(3, 3, 4, 4)
    answers[1, 0, 0, 0] = torch.nan
    start = torch.rand(3, 3, 4, 4)
    found, lost = whole(answers, start)
    assert lost == 1
    assert torch.equal(found[1], start[1])
    assert torch.equal(found[[0, 2]], answers[[0, 2]])
    assert bool((whole(answers, None)[0][1] == 0.5).all())


def test_the_noise_that_it_reckons_with_is_the_granted_defences():
    draw = torch.Generator().manual_seed(0)
    loud = threat(HEAD, "gaussian:level=0.3", known="adaptive")
    clean = capture(HEAD, pixels=AUX.images.floats())

    def found(model):
        return noise_of(model, model.head, certain(model), draw)

    assert found(threat(HEAD, "gaussian:level=0.3", known="unaware")) == LEAST_NOISE
    share = 0.09 / float(clean.var() + 0.09)
    assert found(loud) == pytest.approx(share, rel=0.3)
    fixed = threat(HEAD, "gaussian:level=0.3,draw=fixed", known="noise")
    assert found(fixed) == LEAST_NOISE
    assert found(replace(loud, aux=None)) == LEAST_NOISE


def test_large_images_have_a_budget_and_what_is_given_is_done():
    assert Drag().effort(32) == Drag().effort(64) == (50, 1500)
    steps, learned = Drag().effort(224)
    assert (steps, learned) == (20, 50)
    assert Drag(steps=30, train_steps=400).effort(224) == (30, 400)
    assert "cut to a budget" in cut(Drag().effort(224), Drag().effort(64), 224)


def test_a_rehearsal_sees_every_loop_whole():
    """So that an estimate counts all of the prior, the choice and the answers."""
    watch = Rehearsal()
    seen = Features(tuple("abcdefgh"), capture(HEAD))
    attack = drag(train_steps=300, steps=50)
    run_attack(attack, threat(HEAD, known="unaware"), seen, generator(0), progress=watch)
    totals = {loop.name: loop.total for loop in watch.loops}
    assert totals["diffusion prior"] == 20 * 240
    updates = [2 * len(visited(1000, 50, strength)) for strength in STRENGTHS]
    assert totals["drag: strength"] == 8 * sum(updates)
    assert totals["drag"] == 8 * 2 * len(visited(1000, 50, UNCHOSEN))


def test_its_estimate_of_images():
    attack = Drag(train_steps=100, batch_size=32)
    assert attack.learned_images(640, 32) == 5 * 640
    assert Drag(prior="somewhere").learned_images(640, 32) == 0


def test_presets_are_the_published_numbers():
    paper = Drag.configured({"preset": "paper"})
    assert (paper.steps, paper.recurrence, paper.guidance, paper.inner) == (250, 16, 0.2, 0)
    assert (paper.clip, paper.tv, paper.l2, paper.distance) == (0.02, 0.1, 0.01, "cosine")
    better = Drag.configured({"preset": "paper++"})
    assert (better.start, better.strength) == ("decoder", 0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": "gmi"}, "start='gmi'"),
        ({"guidance": 1.5}, "at most 1"),
        ({"width": 12}, "multiple of 8"),
        ({"recurrence": 0}, "at least 1"),
        ({"noise": 0}, "more than 0"),
        ({"momentum": 1}, "momentum"),
    ],
)
def test_settings_out_of_range_are_one_line(options, words):
    with pytest.raises(BadInput, match=words):
        Drag.configured(options)


def test_more_steps_than_the_prior_has_times_are_refused():
    with pytest.raises(BadInput, match="the prior has 1000 times"):
        outcome(drag(steps=2000), threat(HEAD, known="unaware"), capture(HEAD))


def test_what_is_missing_is_named(tmp_path):
    seen = capture(HEAD)
    with pytest.raises(MissingKnowledge, match="'aux'"):
        outcome(drag(), replace(threat(HEAD, known="unaware"), aux=None), seen)
    with pytest.raises(MissingKnowledge, match="'head'"):
        outcome(drag(), replace(threat(HEAD, known="unaware"), head=None), seen)
    with pytest.raises(BadInput, match="wanted a folder of diffusers"):
        Drag(prior=str(tmp_path)).check(threat(HEAD, known="unaware"))
    assert len(VICTIMS) == len(seen)
