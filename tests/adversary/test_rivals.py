"""DCI's rivals: each does what its paper says, and learns from nothing it was not granted."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from worlds import VICTIMS, capture, images, outcome, quality, tiny_head

from adversary.contract.threat import AuxImages, ThreatModel
from adversary.inversion.dreams import DeepDream, DeepInversion
from adversary.inversion.gmi import GMI, search_latents
from adversary.inversion.mean_image import MeanImage
from adversary.inversion.psim import PSiM, _losses, _start
from adversary.parts.pairs import gather
from adversary.parts.upconvolution import Critic, Upconvolution
from adversary.parts.wgan import WGAN_LATENTS, Play, _steepness, train
from adversary.synthesis.synthesis import Known, Wish
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.models import build
from splitlab.randomness import generator
from splitlab.split import cut

CPU = torch.device("cpu")
AUX = AuxImages(images(96, 1), images(4, 2), "synthetic")


def whole() -> ThreatModel:
    """Head, one body and tail of a tiny network, and what crosses the wire."""
    given = InputSpec(size=16)
    arch = ArchSpec(name="tiny_cnn", classes=4, input=given)
    parts = cut(build(arch, seed=0).eval(), "block1", "pool", given.shape)
    head, body, tail = (part.eval().requires_grad_(False) for part in parts)
    with torch.no_grad():  # so that the untrained network finds every class in some image
        last = next(layer for layer in tail.modules() if isinstance(layer, nn.Linear))
        last.bias -= tail(body(head(VICTIMS))).mean(0)
    return ThreatModel(
        arch=arch,
        head_end="block1",
        head=head,
        bodies=nn.ModuleList([body]),
        tail=tail,
        input=given,
        aux=AUX,
    )


def white(point: str = "block1") -> ThreatModel:
    head = tiny_head(point)
    return ThreatModel(head=head, input=InputSpec(size=16), aux=AUX)


@pytest.mark.parametrize(
    ("shape", "size"), [((5,), 16), ((8, 4, 4), 32), ((6, 16, 16), 16), ((4, 5, 5), 16)]
)
def test_the_networks_meet_any_feature_and_size(shape: tuple[int, ...], size: int) -> None:
    feature = torch.randn(3, *shape, generator=generator(0))
    spec = FeatureSpec(shape=shape)
    for normed in (True, False):
        made = Upconvolution(spec, size, 4, normed=normed)(feature)
        assert made.shape == (3, 3, size, size)
        assert 0 <= float(made.detach().min()) <= float(made.detach().max()) <= 1
        assert Critic(size, 4, normed=normed)(made).shape == (3,)
        assert Critic(size, 4, feature=spec, normed=normed)(made, feature).shape == (3,)


def test_the_penalty_of_a_linear_critic_is_known() -> None:
    class Slope(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return 3 * images[:, 0, 0, 0]

    real, fake = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    share = torch.rand(2, 1, 1, 1, generator=generator(0))
    assert float(_steepness(Slope(), real, fake, share)) == pytest.approx(4.0)


@pytest.mark.slow
def test_a_wgan_learns_which_half_of_its_images_is_bright() -> None:
    halves = 0.1 * torch.rand(64, 3, 16, 16, generator=generator(3))
    halves[..., 8:] += 0.8
    play = Play(epochs=60, batch_size=32, learning_rate=5e-3, rounds=2, width=8)
    net, _, told = train(halves.mul(255).byte(), play, seed=1)
    with torch.no_grad():
        made = net(torch.randn(32, 100, generator=generator(2)))
    assert float(made[..., 8:].mean() - made[..., :8].mean()) > 0.1
    assert len(told["critic"]) == 60


@pytest.mark.slow
def test_psim_beats_the_floor_on_a_shallow_head_and_gmi_s_search_comes_nearer() -> None:
    threat, seen = white(), capture(tiny_head("block1"))
    floor = quality(outcome(MeanImage(), threat, seen), VICTIMS)
    psim = PSiM(epochs=60, width=8, learning_rate=2e-3, batch_size=32)
    assert quality(outcome(psim, threat, seen), VICTIMS) > floor + 1
    gmi = GMI(epochs=10, width=8, learning_rate=1e-3, steps=40, rate=0.05, restarts=1)
    done = outcome(gmi, threat, seen)
    start = outcome(gmi.model_copy(update={"steps": 1}), threat, seen)
    assert done.estimate.extra["feature_error"] < start.estimate.extra["feature_error"]


def test_psim_s_preset_begins_with_three_equal_losses() -> None:
    attack = PSiM.configured({"preset": "dosovitskiy2016", "epochs": "3", "width": "4"})
    assert (attack.learning_rate, attack.batch_size, attack.epochs) == (2e-4, 64, 3)
    assert PSiM.configured({"preset": "dosovitskiy2016"}).width == 64
    threat, draw = white(), torch.Generator().manual_seed(0)
    pairs = gather(threat, CPU, "a test")
    torch.manual_seed(0)
    net = Upconvolution(pairs.feature, 16, 4, normed=False)
    judge = Critic(16, 4, feature=pairs.feature, normed=False)
    shares = _start(attack, net, judge, threat.head, pairs, draw)
    pixels, features = pairs.images[:64].float() / 255, pairs.features[:64]
    with torch.no_grad():
        terms = _losses(net(features), pixels, features, features, threat.head, judge)
    found = [share * float(term) for share, term in zip(shares, terms, strict=True)]
    assert found == pytest.approx([1.0, 1.0, 1.0], rel=1e-4)


def test_gmi_s_search_finds_the_latent_of_a_linear_generator() -> None:
    """Where images are an isometry of latents and features are images, the search is exact."""
    draw = generator(7)
    turn = torch.linalg.qr(torch.randn(192, WGAN_LATENTS, generator=draw)).Q
    made = nn.Sequential(nn.Linear(WGAN_LATENTS, 192, bias=False), nn.Unflatten(1, (3, 8, 8)))
    made[0].weight.data = turn
    latents = torch.rand(5, WGAN_LATENTS, generator=draw) * 1.8 - 0.9
    with torch.no_grad():
        seen = made(latents)

    def indifferent(pictures: torch.Tensor) -> torch.Tensor:
        return pictures.flatten(1).sum(1) * 0

    found, error = search_latents(
        made, indifferent, nn.Identity(), seen, draw, steps=200, rate=0.02, restarts=1
    )
    assert float((found - seen).abs().max()) < 1e-4
    assert float(error.max()) < 1e-8


def test_dreams_are_drawn_to_the_class_that_the_server_finds() -> None:
    threat = whole()

    def server(features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return threat.tail(threat.bodies[0](features)).argmax(1)

    seen = threat.head(VICTIMS)
    assert len(server(seen).unique()) > 1
    still = {"steps": 80, "classes": 300.0, "roll": 0, "flip": 0.0}
    for attack in (DeepInversion(**still), DeepDream(**still)):
        done = outcome(attack, threat, seen)
        assert done.estimate.extra["drawn_to"] == "class of the capture"
        dreamt = server(threat.head(done.estimate.values))
        assert float((dreamt == server(seen)).float().mean()) > 0.7


def test_only_with_the_feature_s_loss_di_is_drawn_to_the_capture() -> None:
    threat = whole()
    seen = threat.head(VICTIMS)

    def error(attack: DeepInversion) -> float:
        found = threat.head(outcome(attack, threat, seen).estimate.values)
        return float((found - seen).square().mean() / seen.var())

    plain = error(DeepInversion(steps=60))
    drawn = error(DeepInversion.configured({"preset": "feature", "steps": 60, "feature": 10.0}))
    assert drawn < 0.7 * plain


def test_without_the_server_s_answer_a_dream_says_that_it_saw_nothing() -> None:
    threat, seen = white(), capture(tiny_head("block1"))
    for attack in (DeepInversion(steps=2), DeepDream(steps=2)):
        done = outcome(attack, threat, seen)
        assert done.estimate.extra["drawn_to"] == "statistics of the head"
        assert "nothing of the single capture" in done.estimate.doubts[0]


@pytest.mark.parametrize(
    ("attack", "own"),
    [(DeepInversion, {"statistics": 0.01, "first": 10.0}), (DeepDream, {"statistics": 0.0})],
)
def test_the_preset_of_20_000_steps_is_the_published_code_s(
    attack: type[DeepInversion], own: dict[str, float]
) -> None:
    made = attack.configured({"preset": "dong"})
    asked = made._settings(Known((), InputSpec(size=224), whole=True), 8).model_dump()
    published = {
        "half_steps": 0,
        "steps": 20_000,
        "batch_size": 8,
        "learning_rate": 0.25,
        "warm_up": 100,
        "decay": True,
        "beta1": 0.9,
        "beta2": 0.999,
        "first": 1.0,
        "tv": 1e-4,
        "l2": 1e-5,
        "classes": 1.0,
        "start": "white",
        "roll": 30,
        "flip": 0.5,
        "clip": False,
    }
    assert asked == {**published, **own}
    assert made.feature == 0


def test_a_wish_is_its_equation() -> None:
    seen = torch.tensor([[1.0, 3.0]])
    answer = torch.tensor([[2.0, 5.0]])
    wish = Wish(feature=seen, weight=2.0, norm=3.0)
    expected = 2.0 * (1 + 4) / 2 / 2.0 - 3.0 * torch.tensor((4 + 25) / 2).log()
    assert float(wish.loss(answer)) == pytest.approx(float(expected))
