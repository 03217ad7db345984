"""Where `rmle` begins: at another attack's image, which is fitted once and whose cost is told."""

from dataclasses import replace

import pytest
import torch
from conftest import SmallDecoder
from worlds import (
    AUX,
    INPUT,
    VICTIMS,
    SmallDCI,
    Watch,
    capture,
    outcome,
    quality,
    threat,
    tiny_head,
)

from adversary.contract.attack import run_attack
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from adversary.contract.workplace import ALONE, Fits, Workplace
from adversary.inversion.rmle.attack import RMLE
from adversary.inversion.rmle.choice import ChosenSettings
from adversary.inversion.rmle.matching import MatchingSettings, match_features
from adversary.inversion.rmle.start import STARTS, Starter, start_of, starting
from splitlab.contracts import ArchSpec, Estimate, Features
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.randomness import generator

HEAD = tiny_head("block2")
FEATURES = capture(HEAD)
IDS = tuple("abcdefgh")
BRIEF = {"steps": 8, "choose_steps": 3, "choose_images": 2}


def known(name="", **fields):
    return replace(threat(HEAD, known="unaware"), name=name, **fields)


def queries():
    return Observed(AUX.images, capture(HEAD, pixels=AUX.images.floats()))


def few(count):
    return AuxImages(AUX.images.subset(range(count)), AUX.validation, AUX.kind)


@pytest.mark.parametrize(
    ("wanted", "fields", "start"),
    [
        (None, {}, "decoder"),
        (None, {"observe": queries()}, "decoder"),
        (None, {"aux": None}, "mean"),
        (None, {"aux": few(1)}, "mean"),
        (None, {"aux": few(2)}, "decoder"),
        (None, {"aux": None, "observe": queries()}, "decoder"),
        ("mean", {}, "mean"),
        ("dci", {"aux": None}, "dci"),
    ],
)
def test_it_starts_from_the_decoder_where_that_can_learn_from_something(wanted, fields, start):
    assert start_of(wanted, known(**fields)) == start


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ("decoder",)),
        ({"start": "decoder"}, ("decoder",)),
        ({"start": "dci"}, ("dci",)),
        ({"start": "mean"}, ()),
        *(({"preset": name}, ()) for name in RMLE.presets),
    ],
)
def test_it_names_the_attack_that_it_starts_from(options, names):
    assert tuple(one.name for one in RMLE.configured(options).starts_from) == names


def test_a_start_that_is_none_is_refused_with_those_that_there_are():
    with pytest.raises(BadInput) as refused:
        RMLE.configured({"start": "gmi"})
    assert "start='gmi'" in str(refused.value)
    for name in (*STARTS, "mean"):
        assert name in str(refused.value)


def test_to_stay_near_the_mean_colour_of_plain_pixels_is_refused():
    with pytest.raises(BadInput, match="with start=mean there is no start to stay near"):
        RMLE.configured({"start": "mean", "near": 0.1, "spectral": False})
    with pytest.raises(BadInput, match="with start=mean there is no start to stay near"):
        RMLE.configured({"start": "mean", "near": 0.1, "learning_rate": 0.1})
    assert RMLE.configured({"start": "mean", "near": 0.0, "spectral": False}).near == 0
    # Where nothing is granted that a start could be learned from, nothing pulls either.
    free, plain = known(aux=None), RMLE(near=0.1, steps=2, spectral=False)
    assert outcome(plain, free, FEATURES).estimate.extra["near"] == 0
    # In coordinates it is the weight of the prior.
    assert RMLE.configured({"start": "mean", "near": 0.1}).near == 0.1
    assert outcome(RMLE(near=0.1, steps=2), free, FEATURES).estimate.extra["near"] == 0.1


@pytest.mark.parametrize("name", ["", "undefended", "adaptive", "unaware"])
def test_who_has_the_head_needs_no_queries_to_start_from_the_decoder(name):
    """The decoder's own row has queries there, and no head."""
    done = outcome(RMLE(**BRIEF), known(name), FEATURES)
    assert done.estimate.extra["start"] == "decoder"


@pytest.mark.parametrize("name", ["", "undefended"])
def test_a_start_that_needs_what_is_not_granted_names_it(name):
    with pytest.raises(MissingKnowledge, match="'aux'"):
        outcome(RMLE(start="decoder"), known(name, aux=None), FEATURES)
    with pytest.raises(MissingKnowledge, match="'aux'"):
        outcome(RMLE(start="psim"), known(name, aux=None), FEATURES)


def test_the_mean_colour_needs_no_images_and_no_other_attack():
    watch = Watch()
    model = known(aux=None)
    seen = Features(IDS, FEATURES)
    done = run_attack(RMLE(**BRIEF), model, seen, generator(0), progress=watch)
    assert done.estimate.extra["start"] == "mean"
    assert watch.names == ["rmle"]
    assert "borrowed_seconds" not in done.effort


def test_a_start_is_fitted_once_for_all_and_its_cost_is_told():
    fits, watch = Fits(), Watch()
    model, seen = known("undefended", observe=queries()), Features(IDS, FEATURES)
    rows = [SmallDecoder(), RMLE(**BRIEF), RMLE(**BRIEF, tv=0.0)]
    done = [
        run_attack(
            attack,
            model.reduced(attack.asks["undefended"]),
            seen,
            generator(0),
            fits=replace_stream(fits),
            progress=watch,
        )
        for attack in rows
    ]
    assert sum(name.startswith("decoder") for name in watch.names) == 1
    own, *borrowed = (one.effort for one in done)
    assert "borrowed_seconds" not in own
    for one in borrowed:
        assert 0 < one["borrowed_seconds"] <= own["fit_seconds"]
        assert one["fit_seconds"] >= one["borrowed_seconds"]
        assert one["queries"] == own["queries"] == len(AUX.images)
    alone = run_attack(
        RMLE(**BRIEF), model, seen, generator(0), fits=replace_stream(Fits()), progress=watch
    )
    assert torch.equal(alone.estimate.values, done[1].estimate.values)
    assert "borrowed_seconds" not in alone.effort  # made for it, which its own time holds


def replace_stream(fits):
    """One stream for each attack, as the rows of a run have."""
    fits.stream = lambda name: generator(0) if name == "decoder" else generator(0, name)
    return fits


def test_a_fit_without_a_run_shares_nothing_with_others():
    attack = RMLE(**BRIEF)
    attack.fit(known(), generator(0))
    assert not ALONE.fits.kept
    assert not ALONE.borrowed


def test_what_a_start_answers_is_where_the_descent_begins():
    begin = starting("decoder", known(), Workplace())
    started = begin(FEATURES)
    assert started.shape == VICTIMS.shape
    settings = [MatchingSettings(0, None, 0.1, 0.0, True, 0.3, started=True)] * len(VICTIMS)
    still = match_features(HEAD, FEATURES, settings, INPUT, generator(0), start=started)
    assert torch.equal(still.images, to_pixels_and_back(started))
    torch.testing.assert_close(still.images, started)
    assert still.late_fall == 0
    with torch.no_grad():
        error = (HEAD(started) - FEATURES).square().flatten(1).mean(1)
    torch.testing.assert_close(still.losses, error, rtol=1e-4, atol=1e-6)


def to_pixels_and_back(images):
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (INPUT.mean, INPUT.std))
    return ((images - mean) / std * std + mean).clamp(0, 1)


@pytest.mark.parametrize("rate", [None, 0.3])
def test_nearness_pulls_to_the_start(rate):
    """Where the head sees nothing the start alone decides; where it sees, the weight."""
    start = 0.5 * VICTIMS
    far = [MatchingSettings(40, rate, 0.0, 0.0, True, 1.0)] * len(VICTIMS)
    blind = match_features(
        lambda x: 0 * x.flatten(1), torch.zeros(8, 768), far, INPUT, generator(0), start=start
    )
    torch.testing.assert_close(blind.images, start, atol=0.05, rtol=0)
    apart = []
    for near in (0.0, 0.3, 30.0):
        settings = [MatchingSettings(25, rate, 0.0, 0.0, True, near, started=True)] * len(VICTIMS)
        found = match_features(HEAD, FEATURES, settings, INPUT, generator(0), start=start)
        apart.append(float((found.images - start).square().mean()))
    assert apart[0] > apart[1] > apart[2]


@pytest.mark.parametrize("fields", [{"started": True}, {"near": 0.1}])
def test_a_descent_without_the_start_that_it_wants_is_an_error(fields):
    settings = [replace(MatchingSettings(3, None, 0.0, 0.0, True), **fields)]
    with pytest.raises(ValueError, match="none is given"):
        match_features(HEAD, FEATURES[:1], settings, INPUT, generator(0))


def test_data_free_it_starts_from_dci_where_head_and_architecture_are_known(monkeypatch):
    monkeypatch.setitem(STARTS, "dci", SmallDCI)
    arch = ArchSpec(name="tiny_cnn", input=INPUT)
    model = known("undefended", aux=None, arch=arch, head_end="block2")
    attack = RMLE(start="dci", **BRIEF)
    attack.check(model)
    done = outcome(attack, model, FEATURES)
    assert done.estimate.extra["start"] == "dci"
    assert done.estimate.extra["started"] is True
    assert done.effort["queries"] == 0
    with pytest.raises(MissingKnowledge, match="'arch'"):
        attack.check(replace(model, arch=None))
    RMLE().check(ThreatModel(input=INPUT))  # its other starts ask for nothing beforehand


def test_what_is_doubtful_of_its_start_is_said_and_who_won():
    start = starting("decoder", known(), Workplace())
    assert start.doubts == []
    doubted = Starter(lambda seen: Estimate(start(seen.features), ["half learned"], {}))
    assert doubted(FEATURES).shape == VICTIMS.shape
    assert doubted.doubts == ["half learned"]


def test_a_record_says_which_start_won_and_passes_its_doubts_on(monkeypatch):
    class Doubting(SmallDecoder):
        def fit(self, threat, rng, work=ALONE):
            answer = super().fit(threat, rng, work)

            def doubted(seen):
                found = answer(seen)
                return Estimate(found.values, ["half learned"], found.extra)

            return doubted

    monkeypatch.setitem(STARTS, "decoder", Doubting)
    begun = outcome(RMLE(**{**BRIEF, "choose_images": 0}), known(), FEATURES).estimate
    assert (begun.extra["start"], begun.extra["start_offered"]) == ("decoder", "decoder")
    assert "its start, decoder: half learned" in begun.doubts
    monkeypatch.setattr(
        "adversary.inversion.rmle.attack.choose",
        lambda _, options, *__: ChosenSettings(replace(options[0], steps=2), {}),
    )
    blank = outcome(RMLE(**BRIEF), known(), FEATURES).estimate
    assert (blank.extra["start"], blank.extra["start_offered"]) == ("mean", "decoder")
    assert not any("half learned" in doubt for doubt in blank.doubts)


def test_settings_are_chosen_under_the_defence_and_confirmed_on_other_images(monkeypatch):
    asked = []

    def watched(bench, options, _steps, other):
        asked.append((bench, other))
        return ChosenSettings(replace(options[0], steps=1), {})

    monkeypatch.setattr("adversary.inversion.rmle.attack.choose", watched)
    fields = {"name": "adaptive", "observe": queries()}
    model = replace(threat(HEAD, "gaussian:level=2", known="adaptive"), **fields)
    outcome(RMLE(**BRIEF), model, FEATURES)
    [(bench, other)] = asked
    own = [tuple(image.flatten().tolist()) for image in AUX.validation.floats()]
    first, second = (
        {tuple(image.flatten().tolist()) for image in one.truth} for one in (bench, other)
    )
    assert len(first) == len(second) == BRIEF["choose_images"]
    assert not first & second
    assert first | second <= set(own)
    for one in (bench, other):
        with torch.no_grad():
            spoilt = (one.seen - HEAD(one.truth)).std()
        assert float(spoilt) > 1
        assert one.start.shape == one.truth.shape


def test_it_is_never_worse_than_its_start_by_more_than_chance():
    """On a head whose answers lead a blank descent astray, and on one that it inverts exactly."""
    for point in ("block1", "block3"):
        head = tiny_head(point)
        model, seen = threat(head, known="unaware"), capture(head)
        start = quality(outcome(SmallDecoder(), model, seen))
        attack = RMLE(steps=60, choose_steps=15, choose_images=4)
        found = quality(outcome(attack, model, seen))
        assert found > start - 0.3, point
        if point == "block1":
            assert found > start + 3
