"""GMI (Zhang et al. 2020, "The Secret Revealer") on captured features: search in the latent space
of a WGAN for the image whose feature was captured. As a rival, adapted by Dong et al. (DCI).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.believed import certain
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.wgan import WGAN_LATENTS, Play, train
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Steps, Weight
from splitlab.errors import BadInput
from splitlab.split.folding import fold_batch_norm
from splitlab.training import Work, goes_on

ROWS = 256
MOMENTUM = 0.9
CLOSEST = 1e-12


class GMI(Attack):
    """minimise weight * mean((head(G(z)) - z^)^2) / var(z^) - D(G(z)) over latents z in [-1, 1].

    The paper's identity loss is the one of the feature here; its weight of 100 is kept. Of several
    restarts the one whose feature comes nearest is taken.

    Args:
        epochs, batch_size, learning_rate, width: of the WGAN on the adversary's images.
        steps, rate: of the search.
        weight: of the feature's loss beside the critic's.
        restarts: starts of the search.
    """

    name: ClassVar[str] = "gmi"
    source: ClassVar[str] = "Zhang et al. 2020, arXiv:1911.07135; features as in Dong et al., DCI"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"head"}),
        "adaptive": frozenset({"head", "defense"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "zhang2020": Preset(
            {"width": 64, "epochs": 120, "steps": 1500, "restarts": 5},
            "AI-secure/GMI-Attack, celebA settings",
        )
    }

    epochs: Epochs = 120
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 2e-4
    width: Annotated[int, Field(ge=4, le=1024, description="channels")] = 16
    steps: Steps = 500
    rate: LearningRate = 0.02
    weight: Weight = 100.0
    restarts: Annotated[int, Field(ge=1, le=100, description="starts")] = 2

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place, who = work.place, f"attack {self.name!r}"
        head = fold_batch_norm(copy.deepcopy(threat.need("head", who))).to(place)
        own: AuxImages = threat.need("aux", who)
        if len(own.images) < 2:
            raise BadInput(f"{who} has {len(own.images)} images to learn from; grant it at least 2")
        play = Play(self.epochs, self.batch_size, self.learning_rate, width=self.width)
        learned = own.images.images.to(place)
        net, critic, told = train(learned, play, seed=seed_of(rng) % 2**31, work=work)
        draw = torch.Generator().manual_seed(seed_of(rng))
        sure, watch = certain(threat), work.progress

        def model(images: Tensor) -> Tensor:
            return sure(head(images), draw)

        def reconstruct(observed: Features) -> Estimate:
            task = watch.task(self.name, self.restarts * self.steps * len(observed.ids))
            found, apart = [], []
            for part in observed.features.split(ROWS):
                images, error = search_latents(
                    net,
                    critic,
                    model,
                    part.to(place),
                    draw,
                    steps=self.steps,
                    rate=self.rate,
                    weight=self.weight,
                    restarts=self.restarts,
                    work=task,
                )
                found.append(images.cpu())
                apart.append(error.cpu())
            task.close()
            facts: dict[str, object] = {
                "learned_from": f"{len(own.images)} {own.word} images",
                **own.facts,
                "critic_losses": told.get("critic", [])[-3:],
                "feature_error": float(torch.cat(apart).mean()),
            }
            return Estimate(torch.cat(found), [], facts)

        return reconstruct


def search_latents(
    net: nn.Module,
    critic: nn.Module,
    head: Callable[[Tensor], Tensor],
    seen: Tensor,
    draw: torch.Generator,
    *,
    steps: int = 500,
    rate: float = 0.02,
    weight: float = 100.0,
    restarts: int = 2,
    work: Work | None = None,
) -> tuple[Tensor, Tensor]:
    """minimise weight * mean((head(G(z)) - z^)^2) / var(z^) - D(G(z)) by momentum, from N(0, 1).

    Args:
        net: the generator, latents [B, 100] -> images [B, 3, S, S].
        critic: images -> [B], larger for those that look natural.
        head: images -> features, differentiable.
        seen: z^ [B, *feature_shape].
        draw: CPU generator of the starts.
        restarts: of each row the one whose feature comes nearest is taken.
        work: told of every step.

    Returns images [B, 3, S, S] and their features' errors [B] in units of the capture's variance.
    """
    unit = seen.var().clamp_min(CLOSEST)
    best, lowest = torch.zeros(0), torch.full((len(seen),), torch.inf, device=seen.device)
    for _ in range(restarts):
        latent = torch.randn(len(seen), WGAN_LATENTS, generator=draw).to(seen.device)
        speed = torch.zeros_like(latent)
        for _ in range(steps):
            latent.requires_grad_()
            images = net(latent)
            error = _errors(head(images), seen) / unit
            loss = (weight * error - critic(images)).sum()
            (slope,) = torch.autograd.grad(loss, latent)
            with torch.no_grad():
                before, speed = speed, MOMENTUM * speed - rate * slope
                step = -MOMENTUM * before + (1 + MOMENTUM) * speed
                latent = (latent + step).clamp(-1, 1)
            told = loss.detach() / len(seen)
            if work is not None and not goes_on(work.advance, len(seen), told):
                break
        with torch.no_grad():
            images = net(latent)
            error = _errors(head(images), seen) / unit
            nearer = error < lowest
            lowest = torch.where(nearer, error, lowest)
            best = (
                images if not len(best) else torch.where(nearer[:, None, None, None], images, best)
            )
    return best, lowest


def _errors(answer: Tensor, seen: Tensor) -> Tensor:
    return (answer - seen).square().flatten(1).mean(1)
