"""Inverse network (He, Zhang and Lee 2019, "Model Inversion Attacks Against Collaborative
Inference", section 4.2, black box): learn features -> images from chosen inputs, then apply it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.budget import (
    FULL_SIZE,
    LEARNED_PIXELS,
    Passes,
    answered_together,
    learned_passes,
)
from adversary.parts.inverse_network import InverseNetwork
from adversary.parts.pairs import Pairs, gather, given_pairs, squared_error
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate
from splitlab.pieces import in_pieces
from splitlab.training import State, batch_count

HE2019 = {
    "epochs": 50,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "optimizer": "adam amsgrad eps 1e-3",
    "schedule": "halved every 20 epochs",
    "linear_start": False,
}


class Decoder(Attack):
    """Minimises the mean squared pixel error of `InverseNetwork` on the adversary's own pairs.

    The defaults are the lab's: a short schedule from a closed-form linear start. The preset
    "he2019" has the optimiser and schedule of the paper's code, on the same network.

    Args:
        epochs: passes over the pairs; with 0 the linear inverse alone answers. Where not given, on
            large images no more than `adversary.parts.budget` allows.
        batch_size: pairs a step.
        learning_rate: at its highest; the linear path, once it has started, learns at a twentieth.
        optimizer: Adam as torch has it, or with the paper's settings.
        schedule: of the learning rate.
        linear_start: whether the linear path starts as the closed-form inverse.
        width, depth: of the inverse network.
    """

    name: ClassVar[str] = "decoder"
    source: ClassVar[str] = "He, Zhang, Lee 2019, ACSAC, section 4.2"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"observe"}),
        "adaptive": frozenset({"observe"}),
        "unaware": frozenset({"head"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "he2019": Preset(
            HE2019, "zechenghe/Inverse_Collaborative_Inference, inverse_blackbox_decoder_CIFAR.py"
        )
    }

    epochs: Epochs = 3
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 3e-3
    optimizer: Literal["adam", "adam amsgrad eps 1e-3"] = "adam"
    schedule: Literal["one cycle", "halved every 20 epochs"] = "one cycle"
    linear_start: bool = True
    width: Annotated[int, Field(ge=4, le=1024, description="channels on an 8x8 map")] = 64
    depth: Annotated[int, Field(ge=0, le=32, description="residual blocks")] = 2

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        pairs = gather(threat, work.place, f"attack {self.name!r}")
        learned = learn_inverse(pairs, self, rng, work, f"{self.name} {threat.head_end or ''}")
        rows = answered_together(pairs.images.shape[-1])

        def reconstruct(observed: Features) -> Estimate:
            images = in_pieces(learned, observed.features, rows, work.place)
            return Estimate(images, list(learned.doubts), dict(learned.facts))

        return reconstruct

    def passes(self, pairs: int, size: int) -> Passes:
        """Over how many of the pairs it learns, and how often: what was given is done in full."""
        if "epochs" in self.model_fields_set:
            return Passes(self.epochs, pairs)
        return learned_passes(self.epochs, pairs, size)

    def learned_images(self, pairs: int, size: int) -> int | None:
        epochs, rows = self.passes(pairs, size)
        return epochs * rows


@dataclass(frozen=True, eq=False)
class LearnedInverse:
    """z [B, *feature_shape] -> images [B, 3, S, S] in [0, 1], with what is told of the learning."""

    net: InverseNetwork
    facts: dict[str, object]
    doubts: list[str]

    def __call__(self, features: Tensor) -> Tensor:
        with torch.inference_mode():
            images = self.net(features).clamp(0, 1).float()
        return images.clone()


def fit_decoder(
    images: Tensor, features: Tensor, rng: torch.Generator, settings: Decoder | None = None
) -> LearnedInverse:
    """Learn features -> images from pairs at hand: the attack without a threat model.

    Args:
        images: [n, 3, S, S], uint8 or float in [0, 1].
        features: float [n, *feature_shape], of these images.
        rng: CPU generator that decides all that is drawn.
        settings: as of the attack.
    """
    work = Workplace(str(images.device))
    return learn_inverse(given_pairs(images, features), settings or Decoder(), rng, work)


def learn_inverse(
    pairs: Pairs,
    settings: Decoder,
    rng: torch.Generator,
    work: Workplace = ALONE,
    name: str = Decoder.name,
) -> LearnedInverse:
    """Minimise mean((net(z) - x)^2) over the pairs, from the closed-form linear inverse.

    Args:
        pairs: on `work.device`.
        name: shown in the progress bar.
    """
    draw, seed = torch.Generator().manual_seed(seed_of(rng)), seed_of(rng)
    pixels, seen = pairs.some(draw)
    size = pixels.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = InverseNetwork(pairs.feature, size, settings.width, settings.depth)
    net = net.to(work.place)
    facts: dict[str, object] = {}
    if settings.linear_start:
        facts["linear_mse"] = net.start_linear(seen, pixels, draw)
    else:
        net.standardise(seen)
    del pixels, seen
    (epochs, rows), doubts = settings.passes(len(pairs.images), size), list[str]()
    if (epochs, rows) != (settings.epochs, len(pairs.images)):
        doubts = [_cut(epochs, rows, settings.epochs, len(pairs.images), size)]
        facts["budget"] = {"epochs": epochs, "pairs": rows, "pixels": LEARNED_PIXELS}
        pairs = pairs.first(rows)
    history = work.fit(
        squared_error(pairs, draw),
        _state(settings, net, rows, epochs, draw),
        pairs.source,
        epochs=epochs,
        batch_size=settings.batch_size,
        seed=seed,
        name=name.strip(),
    )
    net.requires_grad_(False).eval()
    facts |= pairs.told(net, history.losses.get("net", []))
    return LearnedInverse(net, facts, doubts)


def _state(
    settings: Decoder, net: InverseNetwork, rows: int, epochs: int, draw: torch.Generator
) -> State:
    """The network with its optimizer; the linear path is already good and moves slowly."""
    rest = [p for name, p in net.named_parameters() if not name.startswith("linear.")]
    groups = [
        {"params": rest, "lr": settings.learning_rate},
        {
            "params": list(net.linear.parameters()),
            "lr": settings.learning_rate * (0.05 if settings.linear_start else 1.0),
        },
    ]
    paper = settings.optimizer != "adam"
    optimizer = torch.optim.Adam(groups, eps=1e-3 if paper else 1e-8, amsgrad=paper)
    steps = batch_count(rows, settings.batch_size)
    scheduler: LRScheduler
    if settings.schedule == "one cycle":
        peaks = [float(group["lr"]) for group in groups]  # type: ignore[arg-type]
        scheduler = OneCycleLR(
            optimizer,
            peaks,
            total_steps=max(2, epochs * steps),
            pct_start=0.15,
            div_factor=10,
            final_div_factor=100,
        )
    else:
        scheduler = LambdaLR(optimizer, lambda step: 0.5 ** (step // (20 * steps)))
    return State({"net": net}, {"net": optimizer}, {"net": scheduler}, {}, {"draw": draw})


def _cut(epochs: int, rows: int, all_epochs: int, all_rows: int, size: int) -> str:
    """The doubt of an inverse network that saw less than its default."""
    return (
        f"cut to a budget: images above {FULL_SIZE} px; {epochs} epochs over {rows} of {all_rows} "
        f"pairs of {size} px in place of {all_epochs} over all; "
        f"--attack decoder:epochs={all_epochs} learns in full"
    )
