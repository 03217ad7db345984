"""A diffusion prior learned from the adversary's own images (Ho et al. 2020, arXiv:2006.11239,
algorithm 1): predict the noise that was added, at a time drawn at random.

The network that answers is the moving average of the trained one, as in the paper; the average's
slow beginning and the small network are ours.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.drag.schedule import TIMES, ScheduleName, alpha_bars, noised
from splitlab.errors import BadInput
from splitlab.models.denoiser import SHRINKS, DenoisingUNet
from splitlab.storage import canonical_json, hash_tensors, lock, sha256
from splitlab.training import Augment, Batch, Loss, State, Step, TensorSource, batch_count

WARM = 10
"""The average forgets the beginning: at step n its decay is at most (1 + n) / (WARM + n)."""


class DiffusionPrior(NamedTuple):
    """What images are like.

    Args:
        epsilon: (x_t [B, 3, size, size], t int64 [B]) -> noise; x_0 is in [-1, 1].
        alpha_bar: of each time [times].
        size: side of its images in pixels.
        facts: what a record tells of it.
    """

    epsilon: Callable[[Tensor, Tensor], Tensor]
    alpha_bar: Tensor
    size: int
    facts: dict[str, Any]


@dataclass(frozen=True)
class PriorTraining:
    """
    Args:
        steps: at least so many, in whole passes over the images.
        batch_size: images a step.
        rate: of Adam, at its highest.
        decay: of the moving average.
        width: of the network.
        schedule: of the noise.
    """

    steps: int = 1500
    batch_size: int = 32
    rate: float = 1e-3
    decay: float = 0.999
    width: int = 32
    schedule: ScheduleName = "linear"

    def epochs(self, count: int) -> int:
        """Passes over `count` images."""
        return -(-self.steps // batch_count(count, self.batch_size))


def prior_size(size: int) -> int:
    """Side of the prior's images, for images of `size` pixels: what its network can halve twice."""
    return -(-size // SHRINKS) * SHRINKS


def train_prior(
    images: Tensor, settings: PriorTraining, *, seed: int, work: Workplace = ALONE
) -> DiffusionPrior:
    """Learn what such images are like; the network ends frozen, in eval mode, on `work.place`.

    With a checkpoint it is kept beside that, under a name of its own: it depends on no head, so
    that fits at other cuts, which share the folder, find it there.

    Args:
        images: uint8 [n, 3, S, S], n at least 2.

    Raises:
        BadInput: fewer images, or a width that the network cannot have.
    """
    if len(images) < 2:
        raise BadInput(f"a diffusion prior has {len(images)} images; grant it at least 2")
    place, size = work.place, prior_size(images.shape[-1])
    if size != images.shape[-1]:
        images = resized(images.float() / 255, size).mul(255).round().byte()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = DenoisingUNet(settings.width).to(place)
    average = copy.deepcopy(net).requires_grad_(False)
    levels = alpha_bars(settings.schedule).to(place, torch.float32)
    count = torch.zeros((), dtype=torch.int64, device=place)
    optimizer = torch.optim.Adam(net.parameters(), lr=settings.rate)
    epochs = settings.epochs(len(images))
    total = epochs * batch_count(len(images), settings.batch_size)
    warmed = LambdaLR(optimizer, lambda step: rate_share(step, total))
    draw, told = torch.Generator(), _mark(images, settings, seed)
    if work.checkpoint is not None:
        work.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        place_of_it = work.checkpoint.with_name(f"prior-{told}.pt")
        work = Workplace(work.device, work.progress, place_of_it)
    with lock(work.checkpoint) if work.checkpoint is not None else nullcontext():
        history = work.fit(
            _step(levels, count, settings.decay, draw),
            State(
                {"net": net, "average": average},
                {"net": optimizer},
                {"net": warmed},
                {"count": count},
                {"draw": draw},
            ),
            TensorSource((images.to(place),)),
            epochs=epochs,
            batch_size=settings.batch_size,
            seed=seed,
            augment=Augment(shift=0, flip=True),
            name="diffusion prior",
        )
    _follow(average, net, count, settings.decay)
    average.requires_grad_(False).eval()
    losses = history.losses.get("net", [])
    facts = {
        **asdict(settings),
        "images": len(images),
        "parameters": sum(p.numel() for p in net.parameters()),
        "losses": [round(loss, 5) for loss in (losses[:1] + losses[-1:])],
    }
    return DiffusionPrior(average, levels, size, facts)


def rate_share(step: int, total: int) -> float:
    """Of the highest rate: up over the first tenth, then down along a cosine."""
    warm = max(1, total // 10)
    left = (step - warm) / max(1, total - warm)
    return (step + 1) / (warm + 1) if step < warm else 0.5 + 0.5 * math.cos(math.pi * min(left, 1))


def resized(images: Tensor, size: int) -> Tensor:
    """Images [B, 3, S, S] in [0, 1] at another size; the same where it is their own."""
    if images.shape[-1] == size:
        return images
    larger = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    return larger.clamp(0, 1)


def _step(levels: Tensor, count: Tensor, decay: float, draw: torch.Generator) -> Step:
    def step(state: State, batch: Batch) -> dict[str, Loss]:
        net = state.modules["net"]
        _follow(state.modules["average"], net, count, decay)
        clean = 2 * batch.images - 1
        times = torch.randint(TIMES, (len(clean),), generator=draw).to(clean.device)
        noise = torch.randn(clean.shape, generator=draw).to(clean)
        found = net(noised(clean, noise, levels[times]), times)
        return {"net": F.mse_loss(found.float(), noise)}

    return step


@torch.no_grad()
def _follow(average: nn.Module, net: nn.Module, count: Tensor, decay: float) -> None:
    """Move the average towards the network as the last step left it."""
    done = int(count)
    share = 1 - min(decay, (1 + done) / (WARM + done))
    for old, new in zip(average.parameters(), net.parameters(), strict=True):
        old.lerp_(new, share)
    count.add_(1)


def _mark(images: Tensor, settings: PriorTraining, seed: int) -> str:
    """12 hex digits that name all it depends on."""
    told = canonical_json({**asdict(settings), "seed": seed})
    return sha256(told, hash_tensors({"images": images.cpu()}).encode())[:12]
