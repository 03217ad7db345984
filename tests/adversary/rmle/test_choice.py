"""How `rmle` chooses its settings: by pixels, start unchanged and blank start among the choices."""

from dataclasses import replace

import pytest
import torch
from worlds import INPUT, VICTIMS, tiny_head

from adversary.inversion.rmle.choice import (
    BLANK,
    FAST,
    HOPELESS,
    SPECTRAL,
    STARTED,
    Bench,
    Trials,
    choose,
    finalists,
    most_finalists,
    options_of,
)
from adversary.inversion.rmle.matching import MatchingSettings, match_features, rows_at_once
from splitlab.contracts import InputSpec
from splitlab.metrics import psnr
from splitlab.randomness import generator

BASE = MatchingSettings(6, None, 0.0, 0.0, True)
TRUTH = VICTIMS[:3]


class Told:
    """In place of a `Bench`: what each option reaches is written down beforehand.

    Args:
        brief, full: (TV, near, started) -> PSNR of each image, in a trial and in full.

    `falls` says how much each option's loss still fell in its trial.
    """

    def __init__(self, brief, full, start=None):
        self.brief, self.full, self.start, self.truth = brief, full, start, TRUTH
        self.tried, self.falls = [], {}

    def unchanged(self):
        return psnr(self.truth, self.start)

    def decibels(self, options):
        self.tried.append(list(options))
        table = self.full if options[0].steps == 50 else self.brief
        return torch.tensor([table[one.tv, one.near, one.started] for one in options])

    def trials(self, options):
        falls = torch.tensor([self.falls.get(key(one), 0.0) for one in options])
        return Trials(self.decibels(options), falls)


def option(tv, near=0.0, *, started=False):
    return replace(BASE, tv=tv, near=near, started=started)


def white(near, *, started=False):
    return replace(BASE, near=near, started=started, spectral=True)


OPTIONS = [option(0.0), option(0.1), white(0.3), option(0.0, 0.1, started=True)]
START = (TRUTH + 0.1).clamp(0, 1)


def unchanged():
    return psnr(TRUTH, START)


def chosen(brief, full, start=None):
    bench = Told(brief, full, start)
    return choose(bench, OPTIONS if start is not None else OPTIONS[:3], 50), bench


def key(one):
    return one.tv, one.near, one.started


def table(*numbers):
    rows = (number if isinstance(number, list) else [number] * 3 for number in numbers)
    return dict(zip(map(key, OPTIONS), rows, strict=False))


def test_the_best_in_full_wins_of_those_that_were_best_in_brief():
    found, bench = chosen(table(9.0, 11.0, 10.0), table(99.0, 20.0, 21.0))
    assert found.settings == replace(OPTIONS[2], steps=50)
    assert [key(one) for one in bench.tried[1]] == [key(OPTIONS[1]), key(OPTIONS[2])]
    assert bench.tried[1] == [replace(one, steps=50) for one in OPTIONS[1:3]]
    assert found.decibels == {"descent": 21.0}


def test_the_best_of_each_start_and_coordinates_are_tried_in_full():
    """In coordinates with the next weaker prior; who is far behind is not."""
    more = [option(0.1, 0.3, started=True), white(0.1), white(1.0, started=True), white(0.01)]
    every = OPTIONS + more
    tried = [10.0, 9.0, 12.0, 9.5, 9.4, 11.0, 8.0, 11.5]
    best = [OPTIONS[0], OPTIONS[2], more[1], OPTIONS[3], more[2]]
    slow = [0.0] * len(every)
    assert finalists(every, tried, slow) == best
    assert len(best) < most_finalists(every) == 7
    tried[2], tried[5] = 10.0, 12.0  # the weaker of the two is best, and has a weaker one itself
    assert finalists(every, tried, slow)[1:3] == [more[1], more[3]]
    tried[0] = tried[1] = 12.0 - HOPELESS - 0.1
    assert OPTIONS[0] not in finalists(every, tried, slow)
    assert most_finalists([option(0.0), option(0.1)]) == 2
    assert most_finalists([option(0.0)]) == 1


def test_whose_loss_falls_fast_is_tried_in_full_however_far_behind():
    """Behind a head that loses little, plain pixels begin slowly and end exact."""
    ahead, behind = [option(0.0), option(0.1), white(0.3)], [10.0, 11.0, 40.0]
    assert finalists(ahead, behind, [FAST, 0.0, 0.0]) == [ahead[2], ahead[0]]
    assert finalists(ahead, behind, [FAST - 0.01, 0.0, 0.0]) == [ahead[2]]
    assert finalists(ahead, behind, [0.4, 0.5, 0.6]) == [ahead[2]]  # the fastest is there already
    found, bench = Told(table(10.0, 11.0, 40.0), table(90.0, 20.0, 50.0)), OPTIONS[:3]
    assert choose(found, bench, 50).settings == replace(OPTIONS[2], steps=50)
    found.falls = {key(OPTIONS[0]): 0.5}
    assert choose(found, bench, 50).settings == replace(OPTIONS[0], steps=50)


def test_a_bench_tells_how_much_each_loss_still_fell():
    """In the last two of 20 steps; a strong prior is at its end sooner."""
    options = [replace(BASE, steps=20, tv=tv) for tv in (0.0, 30.0)]
    falls = bench().trials(options).falls
    assert 0.05 < float(falls[0]) < 1
    assert 0 <= float(falls[1]) < float(falls[0]) / 2
    assert torch.equal(bench().trials([replace(BASE, steps=9)]).falls, torch.zeros(1))


def test_a_start_that_no_descent_improves_is_left_as_it_is():
    least = float(unchanged().min())
    found, _ = chosen(table(5.0, 5.0, 5.0, 5.0), table(*[least - 1] * 4), START)
    assert (found.settings.steps, found.settings.started) == (0, True)
    assert found.decibels["start"] == pytest.approx(float(unchanged().mean()), abs=1e-3)


def test_a_start_is_left_only_for_more_than_chance():
    """The gain must be larger than a standard error of its mean."""
    own = unchanged()
    lucky = (own + torch.tensor([6.0, -3.0, -2.0])).tolist()
    found, _ = chosen(table(5.0, 5.0, 5.0, 5.0), table(0.0, 0.0, 0.0, lucky), START)
    assert found.settings.steps == 0
    sure = (own + torch.tensor([0.6, 0.5, 0.4])).tolist()
    found, _ = chosen(table(5.0, 5.0, 5.0, 5.0), table(0.0, 0.0, 0.0, sure), START)
    assert found.settings == replace(OPTIONS[3], steps=50)


def test_a_winner_is_confirmed_on_images_that_did_not_choose_it():
    """Luck on the first images is none on others, and one image is no confirmation."""
    own, brief = unchanged(), table(5.0, 5.0, 5.0, 5.0)
    lucky = Told(brief, table(0.0, 0.0, 0.0, (own + 5).tolist()), START)
    others = Told(brief, table(0.0, 0.0, 0.0, (own + torch.tensor([1, -1, -1])).tolist()), START)
    found = choose(lucky, OPTIONS, 50, others)
    assert (found.settings.steps, found.settings.started) == (0, True)
    assert found.decibels["gain_on_others"] == pytest.approx(-1 / 3, abs=1e-3)
    assert [len(one) for one in others.tried] == [1]  # the winner alone
    others.full = lucky.full
    assert choose(lucky, OPTIONS, 50, others).settings == replace(OPTIONS[3], steps=50)
    single = Told(table(5.0, 5.0, 5.0, 5.0), table(0.0, 0.0, 0.0, 90.0), START[:1])
    single.truth = TRUTH[:1]
    single.decibels = lambda options: Told.decibels(single, options)[:, :1]
    assert choose(single, OPTIONS, 50).settings.steps == 0


def test_a_start_that_is_left_as_it_is_has_no_weights():
    least = float(unchanged().min())
    worse = table(*[least - 1] * 3, least - 0.5)
    found, _ = chosen(table(5.0, 5.0, 5.0, 5.0), worse, START)
    still = found.settings
    assert (still.tv, still.near, still.spectral, still.started) == (0, 0, False, True)


def test_a_start_that_became_no_number_is_lost():
    broken = START.clone()
    broken[1] = torch.nan
    own = bench(start=broken).unchanged()
    assert own[1] == 0
    assert own.isfinite().all()


def test_a_blank_start_wins_where_it_comes_nearer():
    most = float(unchanged().max())
    full = table(0.0, most + 9, most + 8, most + 3)
    found, _ = chosen(table(5.0, 7.0, 6.0, 9.0), full, START)
    assert found.settings == replace(OPTIONS[1], steps=50)
    assert not found.settings.started


def test_a_descent_that_became_no_number_is_not_the_best():
    rates = replace(BASE, learning_rate=1.0)
    found = bench(model=lambda x: HEAD(x) * torch.nan).decibels([rates])
    assert found.tolist() == [[0.0] * len(TRUTH)]


HEAD = tiny_head("block1")


def bench(model=HEAD, noise=0.0, start=None, given=INPUT, truth=TRUTH):
    with torch.no_grad():
        clean = HEAD(truth)
    draw = torch.Generator().manual_seed(1)
    seen = clean + noise * torch.randn(clean.shape, generator=draw)
    unit = float(seen.var())
    return Bench(model, seen, truth, start, None, None, given, unit, generator(0), lambda _: None)


def test_settings_are_judged_by_the_pixels_and_not_by_the_features():
    """Two options, one nearer to the features and the other to the images: noise was explained."""
    noisy = bench(noise=1.0)
    options = [replace(BASE, steps=60, tv=tv) for tv in (0.0, 0.3)]
    settings = [one for one in options for _ in TRUTH]
    times = (2, 1, 1, 1)
    match = match_features(
        HEAD, noisy.seen.repeat(times), settings, INPUT, generator(0), unit=noisy.unit
    )
    weak, strong = match.losses.view(2, -1).mean(1)
    by_pixels = noisy.decibels(options).mean(1)
    assert weak < strong
    assert by_pixels[1] > by_pixels[0]
    found = choose(noisy, options, 60)
    assert found.settings == options[1]


def test_more_noise_chooses_more_smoothing():
    options = [replace(BASE, steps=30, tv=tv) for tv in (0.0, 0.003, 0.03, 0.3)]
    clean, noisy = (choose(bench(noise=noise), options, 60).settings for noise in (0.0, 1.0))
    assert clean.tv < 0.03 < noisy.tv


def test_every_option_begins_at_the_same_image_and_large_ones_are_tried_in_parts(monkeypatch):
    one, options = bench(), [replace(BASE, steps=4, tv=tv) for tv in (0.0, 0.0, 0.1)]
    together = one.decibels(options)
    assert torch.equal(together[0], together[1])
    sizes = []

    def watched(*words):
        sizes.append(len(words[2]))
        return match_features(*words)

    monkeypatch.setattr("adversary.inversion.rmle.choice.match_features", watched)
    monkeypatch.setattr("adversary.inversion.rmle.choice.rows_at_once", lambda _: 2 * len(TRUTH))
    torch.testing.assert_close(one.decibels(options), together, rtol=1e-3, atol=1e-3)
    assert sizes == [6, 3]
    assert rows_at_once(32) > rows_at_once(224) >= 1


@pytest.mark.parametrize("started", [False, True])
def test_all_of_both_grids_are_tried(started):
    found = options_of(BASE, None, None, None, started=started)
    plain = [one for one in found if not one.spectral]
    blank = [one for one in plain if not one.started]
    begun = [one for one in plain if one.started]
    white = [one for one in found if one.spectral]
    assert {one.near for one in white} == set(SPECTRAL.nears)
    assert {one.tv for one in white} == set(SPECTRAL.tvs)
    assert {one.tv for one in blank} == set(BLANK.tvs)
    assert {one.near for one in blank} == {0.0}
    wanted = {(tv, near) for tv in STARTED.tvs for near in STARTED.nears} if started else set()
    assert {(one.tv, one.near) for one in begun} == wanted
    assert len(found) == len(set(found))


@pytest.mark.parametrize(("tv", "near"), [(0.07, None), (None, 0.07), (0.07, 0.08)])
def test_what_is_given_is_not_varied(tv, near):
    found = options_of(BASE, tv, near, False, started=True)
    begun = [one for one in found if one.started]
    assert {one.tv for one in found} == ({tv} if tv else {*BLANK.tvs, *STARTED.tvs})
    assert {one.near for one in begun} == ({near} if near else set(STARTED.nears))
    assert {one.near for one in found if not one.started} == {0.0}
    assert {(one.steps, one.learning_rate, one.l2) for one in found} == {(6, None, 0.0)}


def test_a_bench_of_another_size_asks_how_many_rows_its_images_allow(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "adversary.inversion.rmle.choice.rows_at_once", lambda size: asked.append(size) or 64
    )
    bench(given=InputSpec(size=16)).decibels([replace(BASE, steps=1)])
    assert asked == [16]
