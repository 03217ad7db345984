"""FORA in a world whose images tell top from bottom, light from dark and red from blue."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from worlds import INPUT, Killed, Watch, outcome, quality

from adversary.contract.attack import run_attack
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from adversary.inversion.fora.attack import FORA, apart, doubts_of
from adversary.inversion.fora.likeness import MapDistance
from adversary.inversion.fora.substitute import imitate
from adversary.inversion.mean_image import MeanImage
from adversary.inversion.shadow.networks import architecture_head
from splitlab.contracts import ArchSpec, Features, FeatureSpec
from splitlab.data import ImageSet
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.metrics import ssim
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut

ARCH = ArchSpec(name="tiny_cnn", classes=3, input=INPUT)


def scenes(count: int, seed: int) -> ImageSet:
    """Dark ground under a bright sky, with few bright spots: no symmetry maps them to themselves.

    Each colour has a contrast of its own.
    """
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=rng).pow(3)
    spots = torch.nn.functional.interpolate(coarse, 16, mode="bilinear", align_corners=False)
    sky = torch.linspace(0.5, 0, 16).view(1, 1, 16, 1)
    strength = torch.tensor([0.9, 0.5, 0.2]).view(1, 3, 1, 1)
    pixels = (strength * (spots + sky)).clamp(0, 1).mul(255).byte()
    labels = torch.zeros(count, dtype=torch.int64)
    return ImageSet(pixels, labels, ("scene",), torch.arange(count), name="scenes")


AUX = AuxImages(scenes(128, 1), scenes(8, 2), "same distribution")
VICTIMS = scenes(64, 3)


@cache
def client(point: str = "block1") -> torch.nn.Module:
    """A head whose batch norms have seen such images."""
    net = build(ARCH, seed=7).train()
    with torch.no_grad():
        for _ in range(30):
            net(scenes(64, 4).floats())
    return cut(net.eval(), point, None, INPUT.shape).head


@cache
def sent(point: str = "block1") -> torch.Tensor:
    with torch.inference_mode():
        return client(point)(VICTIMS.floats()).clone()


def granted(point: str = "block1", **more) -> ThreatModel:
    fields = {
        "name": "undefended",
        "feature": FeatureSpec(shape=tuple(sent(point).shape[1:])),
        "input": INPUT,
        "arch": ARCH,
        "head_end": point,
        "wire": "FP32",
        "aux": AUX,
        "capture": sent(point),
    }
    return ThreatModel(**{**fields, **more})


def quick(**options) -> FORA:
    return FORA.configured(
        {"substitutes": 1, "steps": 4, "width": 4, "decoder_epochs": 0, **options}
    )


def answer(attack: FORA, threat: ThreatModel, feature=None, seed=0):
    return outcome(attack, threat, sent() if feature is None else feature, seed)


def test_it_beats_the_floor_without_head_bodies_or_query():
    pixels = VICTIMS.floats()
    floor = answer(MeanImage(), granted())
    done = answer(FORA(substitutes=1, steps=200, decoder_epochs=0), granted())
    assert done.effort["head_images"] == done.effort["queries"] == 0
    assert quality(done, pixels) > quality(floor, pixels) + 1.5
    like = [float(ssim(pixels, one.estimate.values).mean()) for one in (done, floor)]
    assert like[0] > like[1] + 0.1
    before, after = done.estimate.extra["distances"]
    assert after < 0.2 * before
    assert not done.estimate.doubts


def test_the_nearest_of_several_substitutes_is_kept():
    found = answer(quick(substitutes=3), granted()).estimate.extra
    assert len(set(found["tried"])) == 3
    assert found["distances"][1] == min(found["tried"])


def test_images_that_lie_class_by_class_are_compared_evenly():
    """The first of them alone would be far from the captured ones under the client's own head."""
    dark = scenes(300, 1).images // 4
    sorted_by_class = torch.cat([dark, scenes(300, 2).images])
    captured = client()(sorted_by_class[::5].float() / 255)
    distance = MapDistance(FeatureSpec(shape=tuple(captured.shape[1:])), 1)
    assert abs(apart(client(), sorted_by_class, captured, lambda z, _: z, 0, distance)) < 0.02
    first = sorted_by_class[:256]
    assert apart(client(), first, captured, lambda z, _: z, 0, distance) > 0.1


def test_more_knowledge_changes_nothing():
    plain = answer(quick(), granted()).estimate.values
    head = torch.nn.Conv2d(3, 8, 3)
    head.register_forward_pre_hook(lambda *_: pytest.fail("the client's head was asked"))
    observe = Observed(AUX.images, torch.full((128, *sent().shape[1:]), torch.nan))
    bodies = torch.nn.ModuleList([torch.nn.Flatten()])
    told = granted(head=head, observe=observe, bodies=bodies, tail=torch.nn.Linear(1, 1))
    assert torch.equal(answer(quick(), told).estimate.values, plain)


@pytest.mark.parametrize("kernels", [0.0, 0.5, 1.0])
def test_imitation_brings_the_features_nearer(kernels):
    rates = {"learning_rate": 1e-2, "critic_rate": 1e-2}
    found = answer(quick(steps=40, kernels=kernels, **rates), granted())
    before, after = found.estimate.extra["distances"]
    assert after < 0.6 * before


def test_the_substitute_answers_as_it_does_while_it_learns():
    """Its batch norms remember what its last weights see, or another network would be inverted."""
    threat = granted()
    images = AUX.images.images
    net = architecture_head(threat, 0, "a test")
    settings = quick(steps=40, learning_rate=1e-2)._imitation
    imitate(net, images, threat.capture, lambda z, _: z, settings, 0)
    assert not net.training
    with torch.no_grad():
        still = net(AUX.images.floats())
        moving = net.train()(AUX.images.floats())
    assert float((still - moving).square().mean() / still.var()) < 0.05


@pytest.mark.parametrize("count", [2, 8])
def test_few_captured_features_are_a_doubt(count):
    few = sent()[:count]
    done = answer(quick(), granted(capture=few), few)
    assert done.estimate.values.isfinite().all()
    assert any(f"{count} captured features hardly" in one for one in done.estimate.doubts)


def test_doubts_by_hand():
    assert doubts_of(32, 1.0, 0.5) == []
    assert "31 captured" in doubts_of(31, 1.0, 0.5)[0]
    assert "no nearer" in doubts_of(32, 0.5, 0.5)[0]


@pytest.mark.parametrize("point", ["block1", "pool"])
@pytest.mark.parametrize("head", ["architecture", "paper"])
def test_any_feature_and_either_substitute(point, head):
    done = answer(quick(head=head), granted(point), sent(point))
    assert done.estimate.values.shape == (64, 3, 16, 16)


def test_the_paper_s_substitute_needs_no_architecture():
    threat = granted(arch=None)
    assert answer(quick(head="paper"), threat).estimate.values.isfinite().all()
    for try_it in (quick().check, lambda one: quick().fit(one, generator(0))):
        with pytest.raises(MissingKnowledge, match="needs 'arch'"):
            try_it(threat)


def test_what_the_wire_rounds_off_is_not_imitated():
    plain = answer(quick(steps=3), granted()).estimate.extra
    rounded = answer(quick(steps=3), granted(wire="INT8")).estimate.extra
    assert plain["substitute_losses"] == rounded["substitute_losses"]
    assert plain["distances"] == rounded["distances"]


def test_a_known_defence_acts_on_the_substitute_too():
    noisy = sent() + 2 * torch.randn(sent().shape, generator=generator(1))
    unaware = granted(capture=noisy)
    adaptive = replace(unaware, defense="gaussian:level=2.0,draw=fresh")
    found = [
        answer(quick(steps=16, learning_rate=1e-2), one, noisy).estimate.extra
        for one in (unaware, adaptive)
    ]
    assert found[1]["distances"][1] < 0.5 * found[0]["distances"][1]


@pytest.mark.parametrize("field", ["aux", "capture", "arch", "head_end"])
def test_what_is_not_granted_is_named(field):
    with pytest.raises(MissingKnowledge, match=f"'{field}'"):
        quick().fit(granted(**{field: None}), generator(0))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"capture": torch.zeros(1, 8, 16, 16)}, "1 captured features and 128 images"),
        ({"aux": AuxImages(AUX.images.take(1), AUX.validation, "public")}, "and 1 images"),
    ],
)
def test_one_of_a_kind_is_no_distribution(more, words):
    with pytest.raises(BadInput, match=words):
        quick().fit(granted(**more), generator(0))


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"kernels": 1.5}, {"head": "other"}])
def test_settings_are_checked(options):
    with pytest.raises(BadInput, match="attack 'fora'"):
        FORA.configured(options)


def test_the_paper_has_a_preset():
    paper = FORA.configured({"preset": "xu2024"})
    assert (paper.learning_rate, paper.critic_rate, paper.penalty) == (1e-4, 3e-4, 1000)
    assert (paper.steps, paper.batch_size, paper.kernels) == (40_000, 64, 0.8)
    assert (paper.schedule, paper.decoder, paper.decoder_epochs) == ("constant", "he", None)
    assert (paper.head, paper.substitutes, paper.pooled) == ("architecture", 1, 1)


@pytest.mark.parametrize("pairs", [3, 100])
def test_it_says_how_many_images_it_learns_from(pairs):
    class Counted(Watch):
        counted = 0

        def advance(self, count, *_):
            self.counted += count

    attack, watch = quick(steps=9, decoder_epochs=2), Counted()
    aux = AuxImages(AUX.images.take(pairs), AUX.validation, "same distribution")
    seen = Features(tuple(map(str, range(64))), sent())
    run_attack(attack, granted(aux=aux), seen, generator(0), progress=watch)
    assert watch.counted == attack.learned_images(pairs, 16)


def test_a_large_set_of_images_makes_it_no_longer():
    few, many = (FORA(decoder_epochs=0).learned_images(count, 32) for count in (10_000, 100_000))
    assert few == many


def test_a_killed_substitute_continues_to_the_same_answer(tmp_path):
    attack, file = quick(steps=24), tmp_path / "point.pt"
    seen = Features(tuple(map(str, range(64))), sent())
    whole = run_attack(attack, granted(), seen, generator(3)).estimate
    killed = Watch(kill_after=12)  # of 24 steps, 8 an epoch
    with pytest.raises(Killed):
        run_attack(attack, granted(), seen, generator(3), progress=killed, checkpoint=file)
    assert len(list(tmp_path.glob("point-substitute-*"))) == 1
    again = Watch()
    done = run_attack(attack, granted(), seen, generator(3), progress=again, checkpoint=file)
    assert torch.equal(whole.values, done.estimate.values)
    assert done.estimate.extra["substitute_losses"] == whole.extra["substitute_losses"]
    other = replace(granted(), capture=sent().flip(1))
    run_attack(attack, other, seen, generator(3), checkpoint=file)
    assert len(list(tmp_path.glob("point-substitute-*"))) == 2
