"""The aligned shadow: its head, what the bodies have to say, and what the attack may not touch."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from colour_worlds import (
    AUX,
    VICTIMS,
    mixed,
    orthogonal,
    quick,
    tinted,
    true_map,
    whitened,
)
from torch import nn
from worlds import INPUT, outcome, quality, tiny_head

from adversary.contract.threat import Observed, ThreatModel
from adversary.inversion.aligned import colour_critic, proposals
from adversary.inversion.aligned.attack import AlignedShadow, doubts_of
from adversary.inversion.aligned.body_agreement import (
    answers,
    answers_apart,
    meanings_apart,
)
from adversary.inversion.aligned.colour_map import ColourMap
from adversary.inversion.aligned.head import ShadowHead, feature_error, learn_head, paint, spread_of
from adversary.inversion.aligned.principal_images import principal_images
from adversary.inversion.aligned.remembered import Remembered
from adversary.inversion.mean_image import MeanImage
from splitlab.contracts import ArchSpec, FeatureSpec
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut

ARCH = ArchSpec(name="tiny_cnn", classes=4, input=INPUT)


def body(seed):
    return cut(build(ARCH, seed=seed), "block1", "pool", INPUT.shape).body


@cache
def colour_head():
    """A shallow head of `ARCH` that answers with eight mixtures of colours, cut off below."""
    head = tiny_head("block1")
    convolution = next(m for m in head.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in head.modules() if isinstance(m, nn.BatchNorm2d))
    with torch.no_grad():
        convolution.weight.mul_(0.02)[:, :, 1, 1] = orthogonal()
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        norm.bias.fill_(0.2)
    return head


@cache
def sent():
    """What that client sends for the victims."""
    with torch.no_grad():
        return colour_head()(VICTIMS.floats())


def granted(**more):
    fields = {
        "feature": FeatureSpec(shape=(8, 16, 16)),
        "input": INPUT,
        "arch": ARCH,
        "head_end": "block1",
        "tail_start": "pool",
        "bodies": nn.ModuleList([body(1), body(2)]),
        "aux": AUX,
        "capture": sent(),
    }
    return ThreatModel(**{**fields, **more})


@pytest.fixture
def forgotten(monkeypatch):
    """Call it, and nothing is remembered."""

    def forget():
        monkeypatch.setattr(colour_critic, "_critics", Remembered())
        monkeypatch.setattr(proposals, "_known", Remembered())

    forget()
    return forget


def recognising():
    """A body of colours: 16 of their mixtures, cut off below."""
    net = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=generator(3))
    return net.requires_grad_(False)


def test_the_bodies_tell_the_true_colours_from_wrong_ones():
    """The shadow of a map answers for an image as the head does for what the map takes it for."""
    pixels, white, net = VICTIMS.floats(), whitened(), recognising()
    true, _ = true_map(white, pixels)
    own = tinted(120, 9)
    replies = [answers(net, mixed(pixels))]
    orders = [[0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]]
    wrong = [ColourMap(true.matrix[order], true.offset[order]) for order in orders]
    wrong.append(ColourMap(-true.matrix, 1 - true.offset))
    wrong.append(ColourMap(0.6 * true.matrix, 0.6 * true.offset + 0.2))
    apart, meant = [], []
    for one in (true, *wrong):
        shown = own.floats()
        shadow = [answers(net, mixed(true(one.inverse(shown))))]
        apart.append(answers_apart(replies, shadow))
        meant.append(meanings_apart(replies, shadow, one(white), shown, own.labels))
    assert apart[0] < 0.1 * min(apart[1:])
    assert meant[0] < 0.2 * min(meant[1:])


def learned(epochs, head="block1"):
    """A head learned from the answers of another one to the same painted images."""
    painted = paint(whitened(), INPUT.size)
    with torch.no_grad():
        features = tiny_head(head)(painted)
    net = learn_head(
        ARCH,
        head,
        None,
        whitened(),
        features,
        epochs=epochs,
        seed=3,
    )
    with torch.no_grad():
        return net, float(feature_error(net(painted), features, spread_of(features)))


def test_a_head_is_learned_from_its_answers():
    _, early = learned(2)
    net, error = learned(150)
    assert early > 0.5
    assert error < 0.03
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())


def test_a_shadow_head_undoes_its_map_before_it_answers():
    net = tiny_head("block1")
    white = whitened()
    one = ColourMap(torch.tensor([[0.2, 0, 0.1], [0, 0.3, 0], [0, 0.1, 0.2]]), torch.rand(3))
    with torch.no_grad():
        direct, through = net(white), ShadowHead(net, one)(one(white))
    assert torch.allclose(direct, through, atol=1e-3)
    assert paint(white[:, :, ::2, ::2], 16).shape == white.shape


@pytest.mark.parametrize("field", ["capture", "aux", "bodies", "arch", "head_end"])
def test_what_is_not_granted_is_named(field):
    with pytest.raises(MissingKnowledge, match=f"'{field}'"):
        quick().fit(replace(granted(), **{field: None}), generator(0))


def test_an_oracle_needs_the_selector():
    with pytest.raises(MissingKnowledge, match="'selector'"):
        quick(bodies="oracle").fit(granted(), generator(0))


@pytest.mark.parametrize(("bodies", "words"), [("7", "2 bodies are granted"), ("0,2", "from 0")])
def test_a_body_that_is_not_there_is_refused(bodies, words):
    with pytest.raises(BadInput, match=words):
        quick(bodies=bodies).fit(granted(), generator(0))


@pytest.mark.parametrize("bodies", ["none", "-1", "0;1", "", "top-P"])
def test_bodies_are_read(bodies):
    with pytest.raises(BadInput, match="its settings are"):
        AlignedShadow.configured({"bodies": bodies})


@pytest.mark.parametrize("shape", [(32,), (2, 16, 16), (8, 3, 3), (10, 2, 2)])
def test_features_that_show_no_picture_are_refused(shape):
    features = torch.rand(64, *shape, generator=generator(1))
    model = granted(capture=features, feature=FeatureSpec(shape=shape))
    with pytest.raises(BadInput, match="take 'shadow' instead"):
        outcome(quick(), model, features)


@pytest.mark.slow
def test_an_oracle_is_told_what_a_number_names():
    told = outcome(quick(bodies="oracle"), granted(selector=(1,)), sent()).estimate
    named = outcome(quick(bodies="1"), granted(), sent()).estimate
    other = outcome(quick(bodies="0"), granted(), sent()).estimate
    assert torch.equal(told.values, named.values)
    assert told.extra["maps"] == named.extra["maps"] != other.extra["maps"]


def shortest(**options):
    """For what does not depend on how well it learns."""
    few = {"head_epochs": 1, "picture_epochs": 1, "decoder_epochs": 0, "align_steps": 1}
    return quick(**{**few, "refine_steps": 1, **options})


def loud(_module, _inputs):
    raise AssertionError("the client's head was asked")


def test_the_head_is_never_run_and_queries_are_never_read():
    blind = outcome(shortest(), granted(), sent()).estimate
    head = nn.Conv2d(3, 8, 3)
    head.register_forward_pre_hook(loud)
    observe = Observed(VICTIMS, torch.full((64, 8, 16, 16), torch.nan))
    more = {
        "head": head,
        "observe": observe,
        "tail": nn.Linear(1, 1),
        "protectors": nn.ModuleList(),
    }
    done = outcome(shortest(), granted(**more), sent())
    assert torch.equal(done.estimate.values, blind.values)
    assert done.effort["head_images"] == 0


def test_the_seed_decides_and_neither_memory_nor_the_global_generator_does(forgotten):
    torch.manual_seed(1)
    attack = shortest()
    first = outcome(attack, granted(), sent()).estimate
    remembered = outcome(attack, granted(), sent()).estimate
    forgotten()
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    model = granted()
    before = model.fingerprint()
    again = outcome(attack, model, sent()).estimate
    assert model.fingerprint() == before
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(first.values, remembered.values)
    assert torch.equal(first.values, again.values)
    assert first.extra["maps"] == again.extra["maps"]
    other = outcome(attack, granted(), sent(), seed=1).estimate.values
    assert not torch.equal(other, first.values)


def test_the_best_map_is_taken():
    attack = shortest(tried=40, started=8, kept=5, aligned=4, refine_steps=3)
    maps = outcome(attack, granted(), sent()).estimate.extra["maps"]
    assert len(maps) == 4
    assert maps == sorted(maps)


def propose(monkeypatch, *orders):
    """Critics propose the true colours of the victims, with their channels in these orders."""
    true, _ = true_map(principal_images(sent()), VICTIMS.floats())
    maps = [ColourMap(true.matrix[order], true.offset[order]) for order in map(list, orders)]
    monkeypatch.setattr(proposals, "candidates", lambda *_, **__: maps)


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
def test_with_the_true_colours_the_victims_are_seen(monkeypatch):
    """Every other step is as it is; through fixed noise of the paper's level as well as without."""
    propose(monkeypatch, (0, 1, 2))
    attack = quick(refine_steps=0, head_epochs=100, picture_epochs=0)
    pixels = VICTIMS.floats()
    floor = quality(outcome(MeanImage(), granted(), sent()), pixels)
    plain = outcome(attack, granted(), sent())
    assert quality(plain, pixels) > floor + 3
    noise = 0.1 * torch.randn(8, 16, 16, generator=generator(8))
    noisy = outcome(attack, granted(capture=sent() + noise), sent() + noise)
    assert noisy.estimate.extra["noise_read"] > 0.8
    assert quality(noisy, pixels) > floor + 3


def test_the_bodies_choose_the_true_colours_among_those_proposed(monkeypatch, forgotten):
    attack = quick(refine_steps=0, head_epochs=100, compared=240)
    propose(monkeypatch, (1, 0, 2), (2, 1, 0), (0, 1, 2), (1, 2, 0))
    found = outcome(attack, granted(), sent()).estimate
    forgotten()
    propose(monkeypatch, (0, 1, 2))
    alone = outcome(attack, granted(), sent()).estimate
    assert found.extra["maps"][0] == alone.extra["maps"][0]
    assert found.extra["maps"][1][0] > found.extra["maps"][0][0] + 1
    assert torch.equal(found.values, alone.values)


def test_features_without_information_are_not_inverted():
    noise = torch.randn(64, 8, 16, 16, generator=generator(5))
    model, pixels = granted(capture=noise), VICTIMS.floats()
    floor = quality(outcome(MeanImage(), model, noise), pixels)
    done = outcome(quick(head_epochs=5), model, noise)
    assert quality(done, pixels) < floor + 0.1
    assert any("shadow head misses" in doubt for doubt in done.estimate.doubts)


def test_a_close_choice_a_poor_map_and_a_poor_head_are_doubts():
    assert doubts_of(0.02, [-13.0, -12.0, -11.9]) == []
    assert doubts_of(0.02, [-13.0]) == []
    assert any("nearly as good" in doubt for doubt in doubts_of(0.02, [-13.0, -12.6]))
    assert any("no map of colours is clearly good" in doubt for doubt in doubts_of(0.02, [-9.0]))
    assert any("misses 60 %" in doubt for doubt in doubts_of(0.6, [-13.0, -12.0]))


@pytest.mark.slow
@pytest.mark.usefixtures("forgotten")
def test_from_captures_to_pictures_with_nothing_told():
    """Critics learn, propose and choose; nothing is put in their place."""
    attack = quick(
        critic_epochs=40,
        tried=200,
        started=12,
        kept=6,
        refine_steps=24,
        compared=240,
        head_epochs=20,
        picture_epochs=40,
        searches=3,
        decoder_epochs=3,
    )
    pixels = VICTIMS.floats()
    floor = quality(outcome(MeanImage(), granted(), sent()), pixels)
    found = outcome(attack, granted(), sent())
    assert quality(found, pixels) > floor + 2
