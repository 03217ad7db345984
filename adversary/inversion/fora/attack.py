"""FORA (Xu et al. 2024, "A Stealthy Wrist: Feature-Oriented Reconstruction Attack", CVPR 2024):
without a query, a substitute client learns to send features that are distributed as the captured
ones are; an inverse network of the substitute is applied to what was captured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, FittedOn, Preset, seed_of
from adversary.contract.believed import Spoil, believed
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.decoder import Decoder
from adversary.inversion.fora.likeness import FeatureCritic, kernel_distance, steepness
from adversary.inversion.shadow.networks import architecture_head, paper_head
from splitlab.contracts import Estimate, Features, FeatureSpec
from splitlab.contracts.ranges import BatchSize, LearningRate, Steps, Weight
from splitlab.errors import BadInput
from splitlab.training import Batch, Loss, State, Step, TensorSource, batch_count

WHO = "attack 'fora'"
CODE = "X1aoyangXu/FORA"


class FORA(Attack):
    """A substitute of the client, then the lab's decoder on it.

    The target is frozen and its server is not needed: captured features and images of the
    adversary's own are all.

    Args:
        head: "architecture", the head's own with fresh weights; or "paper", three convolutions
            (`adversary.inversion.shadow.networks.PaperHead`).
        steps: of the substitute.
        batch_size: images a step, and captured features beside them.
        learning_rate, critic_rate: of the substitute and of its critic (Adam).
        kernels: share of the kernel distance in the substitute's loss; the rest is the critic's.
        penalty: weight of the critic's squared distance from a slope of 1.
    """

    name: ClassVar[str] = "fora"
    source: ClassVar[str] = "Xu et al. 2024, FORA, CVPR, section 4"
    fitted_on: ClassVar[FittedOn] = "capture"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"capture"}),
        "adaptive": frozenset({"capture", "defense"}),
        "unaware": frozenset({"capture"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "xu2024": Preset(
            {
                "steps": 10_000,
                "batch_size": 64,
                "learning_rate": 1e-4,
                "critic_rate": 1e-5,
                "kernels": 1.0,
                "penalty": 1000.0,
            },
            CODE,
        )
    }

    head: Literal["architecture", "paper"] = "architecture"
    steps: Steps = 1000
    batch_size: BatchSize = 64
    learning_rate: LearningRate = 1e-3
    critic_rate: LearningRate = 1e-4
    kernels: Annotated[float, Field(ge=0, le=1, description="share of the loss")] = 0.5
    penalty: Weight = 10.0

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place = work.place
        own: AuxImages = threat.need("aux", WHO)
        captured: Tensor = threat.need("capture", WHO).to(place)
        if min(len(captured), len(own.images)) < 2:
            raise BadInput(
                f"{WHO} has {len(captured)} captured features and {len(own.images)} images of its "
                "own; a distribution takes at least 2 of both"
            )
        seed = seed_of(rng)
        if self.head == "paper":
            substitute = paper_head(threat, 64, seed, WHO)
        else:
            substitute = architecture_head(threat, seed, WHO)
        images = own.images.images.to(place)
        losses = imitate(
            substitute.to(place),
            images,
            captured,
            believed(threat, tuple(captured.shape[1:])),
            self,
            seed,
            work.beside("substitute"),
        )
        # Of the substitute the adversary knows all, so that its decoder is a white box's.
        known = replace(threat, head=substitute, observe=None)
        answer = Decoder().fit(known, rng, work.beside("decoder"))

        def reconstruct(observed: Features) -> Estimate:
            found = answer(observed)
            found.extra["substitute_losses"] = losses[-3:]
            with torch.no_grad():
                some = substitute.to(place)(images[: len(captured)].float() / 255)
                apart = kernel_distance(some, captured[: len(some)])
            found.extra["kernel_distance"] = round(float(apart), 5)
            return found

        return reconstruct


def imitate(
    substitute: nn.Module,
    images: Tensor,
    captured: Tensor,
    spoil: Spoil,
    settings: FORA,
    seed: int,
    work: Workplace = ALONE,
) -> list[float]:
    """Train `substitute` in place, until its features pass for captured ones; its losses.

    Args:
        images: uint8 [n, 3, S, S], the adversary's own, on `work.device` as the others are.
        captured: z^ [m, *feature_shape].
        spoil: what the adversary believes to happen to a feature on its way.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = FeatureCritic(FeatureSpec(shape=tuple(captured.shape[1:])))
    draw = torch.Generator()
    modules = {"net": substitute.train().requires_grad_(), "critic": critic.to(work.place)}
    rates = {"net": settings.learning_rate, "critic": settings.critic_rate}
    state = State(
        modules,
        {n: torch.optim.Adam(m.parameters(), lr=rates[n]) for n, m in modules.items()},
        generators={"draw": draw},
    )
    rows = len(images)
    history = work.fit(
        _step(captured, spoil, settings, draw),
        state,
        TensorSource((images,)),
        epochs=max(1, round(settings.steps / batch_count(rows, settings.batch_size))),
        batch_size=settings.batch_size,
        seed=seed,
        name="fora: substitute",
    )
    for module in modules.values():
        module.requires_grad_(False).eval()
    return history.losses.get("net", [])


def _step(captured: Tensor, spoil: Spoil, settings: FORA, draw: torch.Generator) -> Step:
    """The critic tells captured features from the substitute's, then the substitute its turn."""

    def step(state: State, batch: Batch) -> dict[str, Loss]:
        net, critic = state.modules["net"], state.modules["critic"]
        ours = spoil(net(batch.images), draw).float()
        some = torch.randint(len(captured), (len(ours),), generator=draw)
        theirs = captured[some.to(captured.device)]
        share = torch.rand(len(ours), *[1] * (ours.ndim - 1), generator=draw).to(ours)
        apart = critic(ours.detach()).mean() - critic(theirs).mean()
        wrong = apart + settings.penalty * steepness(critic, ours.detach(), theirs, share)

        def substitute() -> Tensor:
            near = kernel_distance(ours, theirs)
            return settings.kernels * near - (1 - settings.kernels) * critic(ours).mean()

        return {"critic": wrong, "net": substitute}

    return step
