"""A substitute client that learns to send features like captured ones (Xu et al. 2024, FORA)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from adversary.contract.believed import Spoil
from adversary.contract.workplace import ALONE, Workplace
from adversary.inversion.fora.likeness import FeatureCritic, MapDistance, steepness
from splitlab.contracts import FeatureSpec
from splitlab.training import Batch, Loss, State, Step, TensorSource, batch_count


@dataclass(frozen=True)
class Imitation:
    """How a substitute learns; see `FORA`."""

    steps: int
    batch_size: int
    learning_rate: float
    critic_rate: float
    schedule: str
    kernels: float
    pooled: int
    penalty: float
    width: int

    def rows(self, images: int) -> int:
        """Of so many images it sees so many, spread evenly: they may lie class by class."""
        return min(images, self.steps * self.batch_size)

    def epochs(self, images: int) -> int:
        """Passes over those, at least as many as the steps take."""
        return -(-self.steps // batch_count(self.rows(images), self.batch_size))


def imitate(
    substitute: nn.Module,
    images: Tensor,
    captured: Tensor,
    spoil: Spoil,
    settings: Imitation,
    seed: int,
    work: Workplace = ALONE,
) -> list[float]:
    """Train `substitute` in place, until its features pass for captured ones; its losses.

    It is left in eval mode, as the client is whose features were captured: the rate falls to
    nothing, so that its batch norms' running statistics are those of its last weights.

    Args:
        images: uint8 [n, 3, S, S], the adversary's own, on `work.device` as the others are.
        captured: z^ [m, *feature_shape], m at least 2.
        spoil: what the adversary believes to happen to a feature on its way.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = FeatureCritic(captured, settings.width)
    spread = torch.linspace(0, len(images) - 1, settings.rows(len(images))).long()
    images = images[spread.to(images.device)]
    epochs = settings.epochs(len(images))
    steps = epochs * batch_count(len(images), settings.batch_size)
    modules = {"net": substitute.train().requires_grad_(), "critic": critic.to(work.place)}
    optimizers = {
        "net": torch.optim.Adam(substitute.parameters(), lr=settings.learning_rate),
        "critic": torch.optim.Adam(critic.parameters(), lr=settings.critic_rate),
    }
    schedulers: dict[str, LRScheduler] = {}
    if settings.schedule == "one cycle":
        schedulers["net"] = OneCycleLR(
            optimizers["net"], settings.learning_rate, total_steps=max(2, steps), pct_start=0.1
        )
    draw = torch.Generator()
    history = work.fit(
        _step(captured, spoil, settings, draw),
        State(modules, optimizers, schedulers, generators={"draw": draw}),
        TensorSource((images,)),
        epochs=epochs,
        batch_size=settings.batch_size,
        seed=seed,
        name="fora: substitute",
        amp=False,
    )
    for module in modules.values():
        module.requires_grad_(False).eval()
    return history.losses.get("net", [])


def _step(captured: Tensor, spoil: Spoil, settings: Imitation, draw: torch.Generator) -> Step:
    """The critic tells captured features from the substitute's, then the substitute its turn."""

    distance = MapDistance(FeatureSpec(shape=tuple(captured.shape[1:])), settings.pooled)

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        net, critic = state.modules["net"], state.modules["critic"]
        ours = spoil(net(batch.images), draw)
        # None is there twice before all are there once: copies would look like a distribution.
        some = torch.randperm(len(captured), generator=draw)[: len(ours)].to(captured.device)
        theirs = captured[some]
        losses: dict[str, Loss] = {}
        if settings.kernels < 1:
            away = ours.detach()
            partners = theirs[torch.arange(len(ours), device=theirs.device) % len(theirs)]
            share = torch.rand(len(ours), *[1] * (ours.ndim - 1), generator=draw).to(away)
            apart = critic(away).mean() - critic(theirs).mean()
            slope = steepness(critic, away, partners, share)
            losses["critic"] = apart + settings.penalty * slope

        def substitute() -> Tensor:
            near = settings.kernels * distance(ours, theirs) if settings.kernels else 0.0
            if settings.kernels == 1:
                return torch.as_tensor(near)
            critic.requires_grad_(False)
            passing = critic(ours).mean()
            critic.requires_grad_()
            return near - (1 - settings.kernels) * passing

        losses["net"] = substitute
        return losses

    return step
