"""Training of an SNGAN (Miyato et al. 2018, section 4): hinge losses, several steps of the
discriminator for each of the generator; settings as in kwotsin/mimicry.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from splitlab.contracts.ranges import BatchSize, Count, Epochs, LearningRate
from splitlab.models.sngan import SNGAN_LATENTS, SNGANDiscriminator, SNGANGenerator
from splitlab.training.fit import History, Loss, fit
from splitlab.training.progress import Progress
from splitlab.training.source import Batch, TensorSource
from splitlab.training.state import State

BETAS = (0.0, 0.9)


class GanRecipe(BaseModel):
    """
    Args:
        width: of generator and discriminator; see `SNGANGenerator`.
        rounds: steps of the discriminator for each of the generator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Count = 256
    epochs: Epochs = 100
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-4
    rounds: Count = 5


def train_sngan(
    images: Tensor,
    recipe: GanRecipe,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> tuple[SNGANGenerator, History]:
    """A generator of images like these, frozen, in eval mode, on the CPU.

    Args:
        images: uint8 [N, 3, S, S] with S of 32, 64 or 128.

    Raises:
        BadInput: another size, or a width that does not fit it.
    """
    size = images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = SNGANGenerator(size, recipe.width).to(device)
        judge = SNGANDiscriminator(size, recipe.width).to(device)
    turn, draw = torch.zeros((), dtype=torch.int64, device=device), torch.Generator()

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        generator, critic = state.modules["net"], state.modules["judge"]
        real, count = 2 * batch.images - 1, len(batch.images)
        fake = generator(torch.randn(count, SNGAN_LATENTS, generator=draw).to(device))
        wrong = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
        turn.add_(1)
        if int(turn) % recipe.rounds:
            return {"judge": wrong}
        return {"judge": wrong, "net": lambda: -critic(fake).mean()}

    def adam(module: torch.nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), lr=recipe.learning_rate, betas=BETAS)

    history = fit(
        step,
        State(
            {"net": net, "judge": judge},
            {"judge": adam(judge), "net": adam(net)},
            tensors={"turn": turn},
            generators={"draw": draw},
        ),
        TensorSource((images,)),
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        progress=progress,
        name="sngan",
    )
    return net.to("cpu").requires_grad_(False).eval(), history
