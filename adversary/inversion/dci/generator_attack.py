"""DCI on a generator (Dong et al., section 4.3): the latent of an image, or of an inner output."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import torch

from adversary.contract.attack import Attack
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.dci.gan_inversion import Chain, invert
from adversary.inversion.dci.training import InverseSchooling
from splitlab.contracts import Estimate, Features, Kind
from splitlab.contracts.kinds import LATENT
from splitlab.contracts.ranges import BatchSize, Count, Epochs, LearningRate, Weight
from splitlab.pieces import in_pieces

PIECE = 64


class GeneratorInverse(Attack):
    """Learns the inverse of all parts on latents of its own; answers from wherever it is shown.

    Args:
        latents: z ~ N(0, I) to learn from.
        epochs, rate, tune_epochs, tune_rate, batch_size, layer, image, cycle, whole_cycle: see
            `InverseSchooling`.
    """

    name: ClassVar[str] = "generator-inverse"
    source: ClassVar[str] = "Dong et al., DCI, section 4.3"
    estimates: ClassVar[Kind] = LATENT
    shares: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    asks: ClassVar[Mapping[str, frozenset[str]]] = {"undefended": frozenset({"head", "bodies"})}

    latents: Count = 8192
    epochs: Epochs = 1
    rate: LearningRate = 1e-3
    tune_epochs: Epochs = 3
    tune_rate: LearningRate = 3e-4
    batch_size: BatchSize = 64
    layer: Weight = 1.0
    image: Weight = 1.0
    cycle: Weight = 1.0
    whole_cycle: bool = True

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        head, bodies = (threat.need(name, self.name) for name in ("head", "bodies"))
        depth, settings = len(head), self.model_dump()
        count = settings.pop("latents")
        inverse, told = invert(
            Chain(*copy.deepcopy([*head, *bodies[0]])),
            InverseSchooling(**settings),
            latents=count,
            # As the seed was given, so that all depths of one generator share the inverse.
            seed=rng.initial_seed(),
            work=replace(
                work, checkpoint=work.checkpoint and work.checkpoint.with_name("inverse.pt")
            ),
        )
        back = list(inverse.children())[-depth:]

        def estimate(seen: Features) -> Estimate:
            with torch.inference_mode():
                found = in_pieces(torch.nn.Sequential(*back), seen.features, PIECE, work.place)
            spread = found.flatten().double()
            facts = {"latent_mean": float(spread.mean()), "latent_variance": float(spread.var())}
            return Estimate(found.clone(), extra={**facts, "losses": told})

        return estimate
