"""Images from batch norms: the gap is what its equation says, it falls, a kill loses one batch."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from typer.testing import CliRunner
from worlds import INPUT, VICTIMS, Killed, Watch, tiny_head

from adversary.cli import app
from adversary.contract.grant import write_grant
from adversary.contract.threat import ThreatModel
from adversary.inversion.dci.attack import DCI
from adversary.synthesis.batch_norm_gap import BatchNormGap
from adversary.synthesis.folder import make_images
from adversary.synthesis.settings import PRESETS, SynthesisSettings, fitting
from adversary.synthesis.synthesis import Known, _plain, _rate, synthesise
from splitlab.contracts import ArchSpec, InputSpec
from splitlab.data import load_splits
from splitlab.errors import BadInput, MissingKnowledge, UnknownName
from splitlab.models import build
from splitlab.split import cut

CPU = torch.device("cpu")
SETTINGS = SynthesisSettings(steps=60, batch_size=16, learning_rate=0.1)


def parts():
    """Head, body and tail of a network whose batch norms remember the victims' images."""
    arch = ArchSpec(name="tiny_cnn", classes=4, input=INPUT)
    net = build(arch, seed=0)
    for norm in (m for m in net.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None  # the plain mean over what was seen
    with torch.no_grad():
        net.train()(VICTIMS)
    return [p.eval().requires_grad_(False) for p in cut(net.eval(), "block1", "pool", INPUT.shape)]


def known(whole=True):
    head, body, tail = parts()
    modules = (head, body, tail) if whole else (head,)
    return Known(modules, INPUT, whole)


def made(settings=SETTINGS, *, whole=True, number=0, seed=1):
    return synthesise(known(whole), settings, seed=seed, number=number, device=CPU)


def test_the_gap_is_the_equations():
    norm = nn.BatchNorm2d(2).eval()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    shown = torch.stack(
        [torch.tensor([[1.0, 5.0], [3.0, 7.0]]), torch.tensor([[2.0, 2.0], [2.0, 2.0]])]
    )
    with BatchNormGap([nn.Sequential(norm, nn.ReLU())]) as gap:
        norm(shown[None])
        # Channel 0: mean 4, biased variance 5; channel 1: mean 2, variance 0.
        expected = torch.tensor([3.0, 0.0]).norm() + torch.tensor([1.0, -9.0]).norm()
        assert float(gap.loss()) == pytest.approx(float(expected))
        assert float(gap.loss(first=10)) == pytest.approx(10 * float(expected))
        assert gap.errors()[0][0] == pytest.approx((4.5 / 6.5) ** 0.5)
        assert gap.errors()[0][1] == pytest.approx((82 / 97) ** 0.5)
    norm(torch.zeros(1, 2, 2, 2))
    assert float(gap.loss()) == pytest.approx(float(expected))


def test_a_norm_that_is_not_run_does_not_count_and_the_first_is_the_first_that_ran():
    late, aside, early = (nn.BatchNorm2d(1).eval() for _ in range(3))
    with BatchNormGap([nn.ModuleList([late, aside, early])]) as gap:
        early(torch.full((1, 1, 2, 2), 3.0))
        late(torch.zeros(1, 1, 2, 2))
    assert float(gap.loss(first=10)) == pytest.approx(10 * (3 + 1) + 1)
    assert len(gap.errors()) == 2


def test_the_slope_of_the_statistics_is_that_of_their_definition():
    from adversary.synthesis.batch_norm_gap import _Moments

    value = torch.randn(3, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(_Moments.apply, value)
    mean, variance = _Moments.apply(value)
    torch.testing.assert_close(mean, value.mean((0, 2, 3)))
    torch.testing.assert_close(variance, value.var((0, 2, 3), correction=0))


def test_images_that_the_norms_remember_have_no_gap():
    head, *_ = parts()
    with torch.no_grad(), BatchNormGap([head]) as gap:
        head(VICTIMS)
    means, variances = gap.errors()[0]
    assert means < 1e-4
    assert variances < 1e-2  # remembered unbiased, compared biased


@pytest.mark.parametrize("whole", [True, False])
def test_the_objective_falls_and_the_statistics_come_near(whole):
    batch = made(whole=whole)
    first, last = batch.facts["objective"]
    assert last < 0.4 * first
    assert max(batch.facts["mean_error"]) < 0.15
    assert max(batch.facts["variance_error"]) < 0.35
    assert batch.images.shape == (16, *INPUT.shape)
    assert 0 <= float(batch.images.min()) < float(batch.images.max()) <= 1
    assert len(batch.facts["mean_error"]) == (3 if whole else 1)


def test_a_batch_depends_on_seed_and_number_alone():
    settings = SETTINGS.model_copy(update={"steps": 3})
    first = made(settings).images
    assert torch.equal(first, made(settings).images)
    assert not torch.equal(first, made(settings, number=1).images)
    assert not torch.equal(first, made(settings, seed=2).images)


def test_classes_need_the_whole_network_and_are_learned_with_it():
    head, body, tail = parts()
    whole = Known((head, body, tail), INPUT, True)
    settings = SETTINGS.model_copy(update={"classes": 1.0, "statistics": 0.0})
    batch = synthesise(whole, settings, seed=1, number=0, device=CPU)
    without = settings.model_copy(update={"steps": 1})
    start = synthesise(whole, without, seed=1, number=0, device=CPU)
    assert len(set(batch.classes.tolist())) > 1
    assert torch.equal(batch.classes, start.classes)
    with torch.no_grad():
        missed = [
            float(F.cross_entropy(tail(body(head(one.images))), one.classes))
            for one in (start, batch)
        ]
    assert missed[1] < missed[0] - 0.1
    with pytest.raises(BadInput, match="known only with head, body and tail"):
        made(settings, whole=False)


def test_both_sizes_are_trained_at():
    settings = SETTINGS.model_copy(update={"half_steps": 2, "steps": 2, "warm_up": 1})
    assert made(settings).images.shape == (16, *INPUT.shape)


def test_the_size_of_images_is_a_mean_over_the_batch_and_their_variation_a_sum():
    pixels = torch.zeros(2, 1, 1, 2)
    pixels[0, 0, 0] = torch.tensor([3.0, 4.0])
    alone = {"tv": 0.0, "l2": 0.0}
    assert float(_plain(pixels, SynthesisSettings(**{**alone, "l2": 2.0}))) == pytest.approx(5.0)
    assert float(_plain(pixels, SynthesisSettings(**{**alone, "tv": 2.0}))) == pytest.approx(2.0)


def test_the_rate_rises_straight_and_falls_as_a_cosine_or_stays():
    falling = SynthesisSettings(learning_rate=0.2, warm_up=2)
    rates = [_rate(falling, step, 6) for step in range(6)]
    assert rates == pytest.approx([0.1, 0.2, 0.2, 0.1 + 0.1 / 2**0.5, 0.1, 0.1 - 0.1 / 2**0.5])
    staying = falling.model_copy(update={"decay": False})
    assert [_rate(staying, step, 6) for step in range(6)] == [0.1, *[0.2] * 5]


def test_a_network_without_batch_norms_is_refused_and_told_what_else_there_is():
    plain = Known((nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),), INPUT, False)
    with pytest.raises(BadInput, match=r"no batch norm .* rmle"):
        synthesise(plain, SETTINGS, seed=0, number=0, device=CPU)
    forgetful = Known((nn.BatchNorm2d(3, track_running_stats=False),), INPUT, False)
    with pytest.raises(BadInput, match="no batch norm"):
        synthesise(forgetful, SETTINGS, seed=0, number=0, device=CPU)


def test_what_is_known_follows_from_the_grant():
    head, body, tail = parts()
    alone = ThreatModel(input=INPUT, head=head)
    assert not Known.of(alone).whole
    bodies = nn.ModuleList([body])
    assert len(Known.of(ThreatModel(input=INPUT, head=head, bodies=bodies, tail=tail)).modules) == 3
    assert not Known.of(ThreatModel(input=INPUT, head=head, bodies=bodies)).whole
    with pytest.raises(MissingKnowledge, match="'head'"):
        Known.of(ThreatModel(input=INPUT))


IMAGENET = {
    "half_steps": 2000,
    "steps": 1000,
    "batch_size": 84,
    "learning_rate": 0.25,
    "warm_up": 100,
    "decay": True,
    "beta1": 0.5,
    "beta2": 0.9,
    "statistics": 0.01,
    "first": 10.0,
    "tv": 1e-4,
    "l2": 1e-5,
    "classes": 1.0,
    "start": "white",
    "roll": 30,
    "flip": 0.5,
    "clip": True,
}
CIFAR = {
    "half_steps": 0,
    "steps": 2000,
    "batch_size": 256,
    "learning_rate": 0.05,
    "warm_up": 0,
    "decay": False,
    "beta1": 0.9,
    "beta2": 0.999,
    "statistics": 10.0,
    "first": 1.0,
    "tv": 2.5e-5,
    "l2": 0.0,
    "classes": 1.0,
    "start": "white",
    "roll": 2,
    "flip": 0.0,
    "clip": False,
}
PUBLISHED = {"yin2020": IMAGENET, "yin2020-cifar": CIFAR, "dci": {**IMAGENET, "classes": 0.0}}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_published_settings_with_a_source(name):
    assert SynthesisSettings.configured({"preset": name}).model_dump() == PUBLISHED[name]
    assert PRESETS[name].source


def test_what_is_given_beside_a_preset_comes_before_it():
    chosen = SynthesisSettings.configured({"preset": "yin2020", "batch_size": "7"})
    assert chosen.model_dump() == {**IMAGENET, "batch_size": 7}


def test_wrong_settings_say_what_there_is():
    with pytest.raises(UnknownName, match="yin2020"):
        SynthesisSettings.configured({"preset": "yin2021"})
    with pytest.raises(BadInput, match=r"stepps=3.*its settings are: steps"):
        SynthesisSettings.configured({"stepps": 3})
    with pytest.raises(UnknownName, match="nearest: lab"):
        fitting({"preset": "labs"}, 32)


@pytest.mark.parametrize(
    ("given", "size", "preset"),
    [
        ({}, 127, "lab"),
        ({}, 128, "dci"),
        ({"preset": "auto"}, 224, "dci"),
        ({"preset": "lab"}, 224, "lab"),
        ({"preset": "yin2020-cifar"}, 224, "yin2020-cifar"),
        ({"preset": "dci"}, 32, "dci"),
    ],
)
def test_the_size_of_images_chooses_the_preset_where_none_is_named(given, size, preset):
    name, settings = fitting({**given, "steps": 7}, size)
    assert name == preset
    published = {} if preset == "lab" else PRESETS[preset].fields
    assert settings == SynthesisSettings(**{**published, "steps": 7})
    if given.get("preset") != "lab":  # DCI by itself takes the same
        attack = DCI.configured({"synthesis": given.get("preset", "auto"), "synthesis_steps": 7})
        assert attack._synthesis(size) == settings


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.png"))}


def test_a_killed_run_goes_on_and_is_an_ordinary_folder_of_images(tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 4})
    run = {"count": 40, "seed": 1, "device": CPU}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make_images(whole, known(), settings, **run)
    with pytest.raises(Killed):
        make_images(killed, known(), settings, **run, progress=Watch(kill_after=6))
    assert list(json.loads((killed / "provenance.json").read_text())["batches"]) == ["0"]
    content = make_images(killed, known(), settings, **run)
    assert files(killed) == files(whole)
    assert len(files(whole)) == 48  # three whole batches
    assert content["layers"] == "head, body and tail"
    assert content["settings"]["steps"] == 4
    again = make_images(killed, known(), settings, **run, progress=Watch(kill_after=0))
    assert again["batches"].keys() == content["batches"].keys()
    splits = load_splits(f"imagefolder:{killed}", size=16, seed=0)
    assert sum(len(part) for part in splits.partitions.values()) == 48


def test_another_run_does_not_go_on_in_the_same_folder(tmp_path):
    settings = SETTINGS.model_copy(update={"steps": 1})
    run = {"count": 16, "device": CPU}
    make_images(tmp_path, known(), settings, seed=1, **run)
    with pytest.raises(BadInput, match="with other seed"):
        make_images(tmp_path, known(), settings, seed=2, **run)
    other = Known((tiny_head("block1"),), INPUT, False)
    with pytest.raises(BadInput, match="with other layers, network"):
        make_images(tmp_path, other, settings, seed=1, **run)


def test_the_command_takes_the_published_settings_for_a_large_network(tmp_path):
    given = InputSpec(size=128)
    arch = ArchSpec(name="tiny_cnn", input=given)
    head = cut(build(arch, seed=0).eval(), "block1", "pool", given.shape).head
    threat = ThreatModel(arch=arch, head_end="block1", tail_start="pool", input=given, head=head)
    write_grant(tmp_path / "grant", threat)
    words = ["synthesise", "--knows", str(tmp_path / "grant"), "--out", str(tmp_path / "images")]
    few = ["steps=2", "half_steps=1", "batch_size=2"]
    words += ["--count", "2", *(word for one in few for word in ("--set", one))]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "preset dci, for images of 128 pixels a side: 1 + 2 steps" in done.output
    settings = json.loads((tmp_path / "images" / "provenance.json").read_text())["settings"]
    least = {"steps": 2, "half_steps": 1, "batch_size": 2}
    assert settings == {**SynthesisSettings(**PRESETS["dci"].fields).model_dump(), **least}


def test_the_command_makes_images_from_a_grant(tmp_path):
    head, body, tail = parts()
    threat = ThreatModel(
        arch=ArchSpec(name="tiny_cnn", classes=4, input=INPUT),
        head_end="block1",
        tail_start="pool",
        input=INPUT,
        head=head,
        bodies=nn.ModuleList([body]),
        tail=tail,
    )
    write_grant(tmp_path / "grant", threat)
    words = ["synthesise", "--knows", str(tmp_path / "grant"), "--out", str(tmp_path / "images")]
    words += ["--count", "10", "--set", "steps=2", "--set", "batch_size=8"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "16 images from the batch norms of head, body and tail" in done.output
    assert "preset lab, for images of 16 pixels a side: 0 + 2 steps, batches of 8" in done.output
    assert len(files(tmp_path / "images")) == 16
    wrong = CliRunner().invoke(app, [*words, "--set", "steps=0"])
    assert wrong.exit_code == 2
    assert "steps" in wrong.output
