"""The peers' loops: each learns, its images are images, and its time is what it is given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.perf.attacks.measure import asking
from bench.perf.attacks.peers.glass_decoder import generator_of
from bench.perf.attacks.peers.glass_prior import PriorTurns, widths_for
from bench.perf.attacks.peers.learned import PeerInverse
from bench.perf.attacks.peers.listed import PEERS
from bench.perf.attacks.peers.peer import Exposed, Peer, normalisers
from bench.perf.attacks.peers.pixels import PixelDescent, variation
from bench.perf.attacks.peers.ressfl_decoder import decoder, dissimilarity
from bench.perf.attacks.peers.ressfl_pixels import matched_features
from bench.perf.attacks.peers.sizes import doublings
from bench.perf.attacks.race import read_at
from splitlab.contracts import InputSpec
from splitlab.errors import BadInput
from splitlab.metrics import psnr, ssim

SIZE = 16
INPUT = InputSpec(size=SIZE)


class Counting:
    """A clock that is one second on whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def photographs(count: int, seed: int = 0) -> Tensor:
    """Smooth images [count, 3, SIZE, SIZE] in [0, 1]."""
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 4, 4, generator=draw)
    return nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear", align_corners=False)


def head_of(doubled: int) -> nn.Module:
    """A frozen head whose features have 1 / 2^doubled of the image's side."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, 1 if doubled == 0 else 2, 1), nn.ReLU()]
        layers += [nn.Conv2d(8, 8, 3, 2, 1)] * (doubled > 1)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def shown_by(head: nn.Module, victims: int = 3, seed: int = 0) -> Exposed:
    pairs, draw = photographs(48, 1), torch.Generator().manual_seed(seed)
    return Exposed(head(photographs(victims)), head, pairs, head(pairs), INPUT, draw)


def mean_of(losses: list[float]) -> float:
    return sum(losses) / len(losses)


@pytest.mark.parametrize("doubled", [0, 1, 2])
@pytest.mark.parametrize("name", PEERS)
def test_each_lowers_its_own_loss_and_gives_images(name: str, doubled: int) -> None:
    peer = PEERS[name].make(shown_by(head_of(doubled), 2))
    before = peer.answer()
    losses = [peer.step() for _ in range(30)]
    after = peer.answer()
    assert mean_of(losses[-4:]) < mean_of(losses[:4])
    for images in (before, after):
        assert images.shape == (2, 3, SIZE, SIZE)
        assert not images.requires_grad
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
    assert not torch.equal(before, after)


@pytest.mark.parametrize("name", PEERS)
def test_the_same_stream_gives_the_same_images(name: str) -> None:
    def images(seed: int) -> Tensor:
        peer = PEERS[name].make(shown_by(head_of(1), seed=seed))
        for _ in range(4):
            peer.step()
        return peer.answer()

    before = torch.random.get_rng_state()
    assert torch.equal(images(0), images(0))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(images(0), images(1)) == (name == "ResSFL MF")  # which draws nothing


def test_a_descent_reads_pixels_that_the_feature_is() -> None:
    peer = matched_features(shown_by(nn.Identity()))
    for _ in range(300):
        peer.step()
    assert float(psnr(photographs(3), peer.answer()).min()) > 40


def test_victims_that_descend_side_by_side_do_not_touch_each_other() -> None:
    def steps(peer: Peer) -> Tensor:
        for _ in range(5):
            peer.step()
        return peer.answer()

    head = head_of(1)
    together = steps(matched_features(shown_by(head, 3)))
    alone = shown_by(head, 3)
    one = Exposed(alone.features[1:2], head, alone.pairs, alone.answers, INPUT, alone.rng)
    assert torch.allclose(together[1:2], steps(matched_features(one)), atol=1e-5)


def test_victims_take_turns() -> None:
    turns = PriorTurns(shown_by(head_of(1), 3))
    counts = [0, 0, 0]
    for number, victim in enumerate(turns.victims):
        step = victim.step

        def counted(number: int = number, step=step) -> float:  # type: ignore[no-untyped-def]
            counts[number] += 1
            return float(step())

        victim.step = counted  # type: ignore[method-assign]
    for _ in range(7):
        turns.step()
    assert counts == [3, 2, 2]


def kinds(net: nn.Sequential) -> list[tuple[str, int, int]]:
    """(kind, channels before, channels after) of the layers with weights."""
    found = [m for m in net if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    return [(type(m).__name__, m.in_channels, m.out_channels) for m in found]


def test_decoders_are_as_published() -> None:
    assert kinds(decoder(64, 0)) == [("Conv2d", 64, 64), ("Conv2d", 64, 3)]
    assert kinds(decoder(64, 1)) == [("Conv2d", 64, 64), ("ConvTranspose2d", 64, 3)]
    assert kinds(decoder(64, 2)) == [
        ("Conv2d", 64, 32),
        ("ConvTranspose2d", 32, 32),
        ("Conv2d", 32, 32),
        ("ConvTranspose2d", 32, 3),
    ]
    assert [one[2] for one in kinds(generator_of(16, 0))] == [64, 3]
    assert [one[2] for one in kinds(generator_of(64, 1))] == [64, 3]
    assert [one[2] for one in kinds(generator_of(64, 4))] == [512, 256, 128, 64, 3]
    assert [widths_for(size) for size in (8, 16, 32)] == [(32,), (32, 64), (32, 64, 128)]
    assert len(widths_for(224)) == 5


def test_descents_on_pixels_weigh_as_published() -> None:
    """The published configurations for images of 32 pixels; the first step's loss by hand."""
    both = {"tv": 0.1, "l2": 0.01, "learning_rate": 0.01}
    for name in ("GLASS rMLE", "GLASS LM"):
        assert PEERS[name].settings.items() >= both.items()
    shown, start = shown_by(nn.Identity(), 2), torch.randn(2, 3, SIZE, SIZE)
    mean, std = normalisers(INPUT)
    error = (start * std + mean - shown.features).square().mean()
    wanted = error + 0.3 * variation(start).mean() + 0.2 * start.square().mean()
    loss = PixelDescent(shown, start, rate=0.01, tv=0.3, l2=0.2).step()
    assert loss == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("name", ["GLASS rMLE", "GLASS LM"])
def test_the_loop_itself_weighs_so(name: str) -> None:
    """A first step's loss through the very loop that is measured, by hand."""
    shown = shown_by(head_of(1), 1)
    peer = PEERS[name].make(shown)
    mean, std = normalisers(INPUT)
    if isinstance(peer, PixelDescent):
        pixels = peer._pixels.detach().clone()
        assert float(pixels.std()) == pytest.approx(1, abs=0.1)  # Gaussian
    else:
        assert isinstance(peer, PriorTurns)
        [victim] = peer.victims
        with torch.no_grad():
            pixels = (victim.net(victim._noise) - mean) / std
        assert victim._optimizer.param_groups[0]["lr"] == 0.01
    error = (shown.head(pixels * std + mean) - shown.features).square().mean()
    wanted = error + 0.1 * variation(pixels).mean() + 0.01 * pixels.square().mean()
    assert peer.step() == pytest.approx(float(wanted), rel=1e-4)


def test_rates_of_the_descents_are_as_published() -> None:
    for name, rate in (("ResSFL MF", 0.8), ("GLASS rMLE", 0.01)):
        peer = PEERS[name].make(shown_by(head_of(0), 2))
        assert isinstance(peer, PixelDescent)
        [group] = peer._optimizer.param_groups
        assert (group["lr"], group["amsgrad"]) == (rate, True)


@pytest.mark.parametrize("name", ["ResSFL decoder", "ResSFL decoder SSIM", "GLASS IN"])
def test_what_a_learned_peer_lowers(name: str) -> None:
    """Its first loss, of the batch that it draws, by hand; and its answers become images."""
    shown, draw = shown_by(head_of(1)), torch.Generator().manual_seed(0)
    peer = PEERS[name].make(shown)
    assert isinstance(peer, PeerInverse)
    assert peer._optimizer.param_groups[0]["lr"] == 1e-3
    draw.set_state(shown.rng.get_state())
    rows = torch.randperm(len(shown.pairs), generator=draw)[:32]
    given, truth = peer.net(shown.answers[rows]).detach(), shown.pairs[rows]
    if name == "ResSFL decoder SSIM":
        wanted = 1 - ssim(truth, given).mean()
    else:
        wanted = (given - (2 * truth - 1 if name == "GLASS IN" else truth)).square().mean()
    assert peer.step() == pytest.approx(float(wanted), rel=1e-3)
    for _ in range(250):
        peer.step()
    flat = psnr(photographs(3), shown.pairs.mean(0).expand(3, -1, -1, -1))
    assert float((psnr(photographs(3), peer.answer()) - flat).mean()) > 3


def test_who_knows_queries_alone() -> None:
    learned = {"ResSFL decoder", "ResSFL decoder SSIM", "GLASS IN"}
    assert asking() == learned | {"decoder", "decoder:epochs=3"}


def test_losses_by_hand() -> None:
    image = photographs(2)
    assert float(dissimilarity(image, image)) == pytest.approx(0, abs=1e-5)
    ramp = torch.arange(4.0).expand(1, 3, 4, 4)  # steps of one across, none down
    assert variation(ramp).tolist() == [1.0]
    mean, std = normalisers(INPUT)
    assert mean.flatten().tolist() == pytest.approx(list(INPUT.mean))
    assert std.shape == (3, 1, 1)


def test_doublings_of_a_side() -> None:
    assert [doublings((8, side, side), 32) for side in (32, 16, 8, 4, 1)] == [0, 1, 2, 3, 5]
    for shape in ((8,), (8, 4, 8), (8, 12, 12), (8, 64, 64), (4, 8)):
        with pytest.raises(BadInput, match=r"'fc' has a feature.*choose other --splits"):
            doublings(shape, 32, "fc")


class Steps:
    """A loop that answers with its number of steps, and takes long to; an image is broken."""

    def __init__(self, clock: Counting) -> None:
        self.count, self.clock = 0, clock

    def step(self) -> float:
        self.count += 1
        return 1 / self.count

    def answer(self) -> Tensor:
        self.clock.now += 100
        images = torch.full((2, 3, 2, 2), self.count / 100)
        images[1, 0, 0, 0] = float("nan")
        return images


def test_a_run_is_read_within_itself() -> None:
    clock, told = Counting(), list[int]()
    first, second = read_at(lambda: Steps(clock), (3.0, 7.0), clock, told.append)
    # Looked at once a step, and the step after which 3 seconds are over is the last one.
    assert (first.steps, first.seconds) == (2, 4.0)
    # The first reading took 101 seconds, which are nobody's.
    assert (second.budget, second.steps, second.seconds) == (7.0, 4, 8.0)
    assert float(first.images[0, 0, 0, 0]) == pytest.approx(0.02)
    assert (first.broken, float(first.images[1, 0, 0, 0])) == (1, 0.5)
    assert second.loss == pytest.approx(0.25)
    assert sum(told) == 7
