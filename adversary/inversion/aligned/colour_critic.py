"""A critic of colours: how far an image's colours are from what they were, told from the image.

It learns on the adversary's own images, whose colours it mixes at random, and so has what it needs
to undo an unknown mixture: which textures have which colours, and which way is bright.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.aligned.principal_images import Whitening
from adversary.inversion.aligned.remembered import Remembered
from splitlab.storage import hash_tensors
from splitlab.training import Batch, Loss, State, Step, TensorSource, batch_count

NEAR = 0.4
"""Share of the mixtures that are near the identity, where small differences must be told."""


class ColourCritic(nn.Module):
    """Images [B, 3, h, w] of any size -> [B], the expected logarithm of their squared error."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, width), (width, 2 * width), (2 * width, 3 * width)):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(3 * width, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.layers(4 * images - 2).mean((2, 3))).squeeze(1)


def rotations(count: int, rng: torch.Generator) -> Tensor:
    """[count, 3, 3], uniform over the orthogonal matrices, half of them reflections."""
    square, triangle = torch.linalg.qr(torch.randn(count, 3, 3, generator=rng))
    return square * triangle.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)


def small_rotations(count: int, angle: float, rng: torch.Generator) -> Tensor:
    """[count, 3, 3] rotations about random axes by `angle` radians times a normal number."""
    a, b, c = (angle * torch.randn(3, count, generator=rng)).unbind()
    zero = torch.zeros(count)
    skew = torch.stack([zero, -c, b, c, zero, -a, -b, a, zero], 1).view(count, 3, 3)
    return torch.linalg.matrix_exp(skew)


def train_critic(
    images: Tensor,
    colours: Whitening,
    *,
    epochs: int,
    seed: int,
    work: Workplace = ALONE,
) -> ColourCritic:
    """Learn from `images` uint8 [n, 3, h, w], whose colours are described by `colours`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = ColourCritic()
    batch_size = 64
    steps = epochs * batch_count(len(images), batch_size)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    schedule = OneCycleLR(optimizer, 3e-3, total_steps=max(2, steps), pct_start=0.15)
    draw = torch.Generator()
    critic.train()
    work.fit(
        _step(colours, draw),
        State({"net": critic}, {"net": optimizer}, {"net": schedule}, {}, {"draw": draw}),
        TensorSource((images,)),
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        name="critic of colours",
    )
    return critic.requires_grad_(False).eval()


_critics: Remembered[tuple[ColourCritic, ...]] = Remembered()


def trained_critics(
    images: Tensor,
    colours: Whitening,
    *,
    epochs: int,
    seed: int,
    work: Workplace = ALONE,
) -> tuple[ColourCritic, ...]:
    """Two critics from different starts; the last few are remembered."""

    def train() -> tuple[ColourCritic, ...]:
        return tuple(
            train_critic(images, colours, epochs=epochs, seed=seed + number, work=work)
            for number in range(2)
        )

    given = {"images": images, "mean": colours.mean, "colour": colours.colour}
    key = f"{hash_tensors({k: v.cpu() for k, v in given.items()})} {epochs} {seed} {work.place}"
    return _critics.get(key, train)


def _step(colours: Whitening, draw: torch.Generator) -> Step:
    mean = colours.mean.view(1, 3, 1, 1)

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        mixed = _mixed(batch.images, colours, mean, draw)
        error = (mixed - batch.images).square().mean((1, 2, 3)).add(1e-4).log()
        grain = 0.03 * torch.randn(mixed.shape, generator=draw).to(mixed)
        return {"net": F.mse_loss(state.modules["net"](mixed + grain).float(), error)}

    return step


def _mixed(images: Tensor, colours: Whitening, mean: Tensor, draw: torch.Generator) -> Tensor:
    """Each image under a mixture of its own: rotation, gain a component, shift a channel."""
    count = len(images)
    near = torch.rand(count, generator=draw) < NEAR
    turn = torch.where(
        near.view(-1, 1, 1), small_rotations(count, 0.25, draw), rotations(count, draw)
    )
    gain = torch.diag_embed(torch.exp(0.2 * torch.randn(count, 3, generator=draw)))
    shift = 0.05 * torch.randn(count, 3, 1, 1, generator=draw)
    mixture = (colours.colour.cpu() @ turn @ gain @ colours.white.cpu()).to(images)
    return torch.einsum("bij,bjhw->bihw", mixture, images - mean.to(images)) + (mean + shift).to(
        images
    )
