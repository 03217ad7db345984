"""WGAN with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028) on the adversary's images:
what images are like at all, for attacks that search among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adversary.contract.workplace import ALONE, Workplace
from adversary.parts.upconvolution import Critic, Upconvolution
from splitlab.contracts import FeatureSpec
from splitlab.training import Batch, Loss, State, TensorSource

WGAN_LATENTS = 100


@dataclass(frozen=True)
class Play:
    """Settings of the training; the defaults are those of GMI (Zhang et al. 2020).

    Args:
        rounds: steps of the critic for each step of the generator.
        penalty: weight of the squared distance of the critic's slope from 1.
        width: of both networks, channels at the image's resolution.
    """

    epochs: int = 120
    batch_size: int = 64
    learning_rate: float = 2e-4
    rounds: int = 5
    penalty: float = 10.0
    width: int = 64


def train(
    images: Tensor,
    play: Play,
    *,
    seed: int,
    work: Workplace = ALONE,
) -> tuple[nn.Module, nn.Module, dict[str, list[float]]]:
    """Generator (z [B, 100] -> images in [0, 1]) and critic, frozen, with the losses by epoch.

    Args:
        images: uint8 [N, 3, S, S].
    """
    size, device = images.shape[-1], work.place
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Upconvolution(FeatureSpec(shape=(WGAN_LATENTS,)), size, play.width, normed=True)
        critic = Critic(size, play.width)
    turn, draw = torch.zeros((), dtype=torch.int64, device=device), torch.Generator()

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        generator, judge = state.modules["net"], state.modules["critic"]
        real, count = batch.images, len(batch.images)
        latent = torch.randn(count, WGAN_LATENTS, generator=draw).to(device)
        fake = generator(latent)
        apart = judge(fake.detach()).mean() - judge(real).mean()
        share = torch.rand(count, 1, 1, 1, generator=draw).to(device)
        loss = apart + play.penalty * _steepness(judge, real, fake.detach(), share)
        turn.add_(1)
        if int(turn) % play.rounds:
            return {"critic": loss}
        return {"critic": loss, "net": lambda: -judge(fake).mean()}

    def adam(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), lr=play.learning_rate, betas=(0.5, 0.999))

    modules = {"net": net.to(device), "critic": critic.to(device)}
    history = work.fit(
        step,
        State(
            modules,
            {name: adam(module) for name, module in modules.items()},
            tensors={"turn": turn},
            generators={"draw": draw},
        ),
        TensorSource((images,)),
        epochs=play.epochs,
        batch_size=play.batch_size,
        seed=seed,
        name="wgan",
    )
    for module in modules.values():
        module.requires_grad_(False).eval()
    return net, critic, history.losses


def _steepness(critic: nn.Module, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Mean squared distance from 1 of the critic's slope between real and made images."""
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
