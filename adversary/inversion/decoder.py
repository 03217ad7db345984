"""Inverse network (He, Zhang and Lee 2019, "Model Inversion Attacks Against Collaborative
Inference", section 4.2, black box): learn features -> images from chosen inputs, then apply it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from adversary.contract.attack import Attack, Preset, seed_of
from adversary.contract.threat import ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.parts.budget import (
    ANSWERED_TOGETHER,
    FULL_SIZE,
    LEARNED_PIXELS,
    Passes,
    answered_together,
    learned_passes,
)
from adversary.parts.cycles import learn_in_cycles, still_gaining
from adversary.parts.inverse_network import InverseNetwork
from adversary.parts.pairs import Pairs, gather, given_pairs, pixel_error
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Weight
from splitlab.pieces import in_pieces
from splitlab.training import State, batch_count

HE2019 = {
    "epochs": 50,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "optimizer": "adam amsgrad eps 1e-3",
    "schedule": "halved every 20 epochs",
    "linear_start": False,
    "ssim": 0.0,
}

EPOCHS, STEPS = 3, 150
"""A cycle has at least so many of both; two cycles are the least, where images can be held out."""
CYCLES = 3
"""Cycles at most."""
BRIEF: Mapping[str, Any] = {"epochs": 3, "ssim": 0.0}
"""What shadows learn by, whose features are not the client's: more would learn the difference."""
LARGE_EPOCHS = 3
"""On images above `FULL_SIZE`, if the budget allows them."""
HELD_OUT, SHARE = 128, 10
"""Pairs that are held out to see when to stop: so many, or one in `SHARE`."""


class Decoder(Attack):
    """Minimises the pixel error of `InverseNetwork` on the adversary's own pairs.

    The defaults are the lab's: from a closed-form linear start, in cycles until one lowers the
    error on pairs that are held out by less than a quarter. The preset "he2019" has the optimiser
    and schedule of the paper's code, on the same network.

    Args:
        epochs: passes over the pairs; with 0 the linear inverse alone answers. None for as many as
            its images need, on large images for what `adversary.parts.budget` allows.
        batch_size: pairs a step.
        learning_rate: at its highest; the linear path, once it has started, learns at a twentieth.
        optimizer: Adam as torch has it, or with the paper's settings.
        schedule: of the learning rate.
        linear_start: whether the linear path starts as the closed-form inverse.
        ssim: weight of 1 - SSIM beside the mean squared error.
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

    epochs: Epochs | None = None
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 3e-3
    optimizer: Literal["adam", "adam amsgrad eps 1e-3"] = "adam"
    schedule: Literal["one cycle", "halved every 20 epochs"] = "one cycle"
    linear_start: bool = True
    ssim: Weight = 0.1
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
        """Over how many of the pairs it learns, and how often: what was given is done in full.

        Of a decoder that learns until it is still, one cycle.
        """
        if self.epochs is not None:
            return Passes(self.epochs, pairs)
        if size > FULL_SIZE:
            return learned_passes(LARGE_EPOCHS, pairs, size)
        return Passes(max(EPOCHS, math.ceil(STEPS / batch_count(pairs, self.batch_size))), pairs)

    def cycles(self, size: int) -> int:
        """How often, at most, it passes over the pairs so many times."""
        return CYCLES if self.epochs is None and size <= FULL_SIZE else 1

    def learned_images(self, pairs: int, size: int) -> int | None:
        """At most so many: all cycles. Exact where `epochs` are given, or nothing is held out."""
        kept = held_out(pairs, self.cycles(size))
        epochs, rows = self.passes(pairs - kept, size)
        return epochs * rows * cycles_of(kept, self.cycles(size))


def brief_epochs(size: int) -> dict[str, Any]:
    """`BRIEF`'s epochs; on images above `FULL_SIZE` none, so that the budget acts."""
    return {"epochs": BRIEF["epochs"]} if size <= FULL_SIZE else {}


def held_out(pairs: int, cycles: int) -> int:
    """How many of the pairs a decoder does not learn from, to see when to stop."""
    return min(HELD_OUT, pairs // SHARE) if cycles > 1 else 0


def cycles_of(held_out: int, most: int) -> int:
    """Cycles at most: two where no pair tells when to stop."""
    return most if held_out else min(most, 2)


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
    """Minimise mean((net(z) - x)^2) + ssim (1 - SSIM) over the pairs, from the linear inverse.

    Args:
        pairs: on `work.device`.
        name: shown in the progress bar.
    """
    draw, seed = torch.Generator().manual_seed(seed_of(rng)), seed_of(rng)
    size = pairs.images.shape[-1]
    most = settings.cycles(size)
    kept = held_out(len(pairs.images), most)
    if kept:  # the first ones, of pairs that may lie class by class
        pairs = pairs.shuffled(draw)
    pixels, seen = pairs.some(draw)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = InverseNetwork(pairs.feature, size, settings.width, settings.depth)
    net = net.to(work.place)
    facts: dict[str, object] = {}
    kept = min(kept, len(pixels) // 2)
    held = (pixels[:kept], seen[:kept])
    pixels, seen, pairs = pixels[kept:], seen[kept:], pairs.after(kept)
    if settings.linear_start:
        facts["linear_mse"] = net.start_linear(seen, pixels, draw)
    else:
        net.standardise(seen)
    del pixels, seen
    cycles, doubts = cycles_of(kept, most), list[str]()
    if kept:
        facts["held_out"] = kept
    epochs, rows = settings.passes(len(pairs.images), size)
    if rows < len(pairs.images) or (settings.epochs is None and epochs < LARGE_EPOCHS):
        doubts = [_cut(epochs, rows, LARGE_EPOCHS, len(pairs.images), size)]
        facts["budget"] = {"epochs": epochs, "pairs": rows, "pixels": LEARNED_PIXELS}
        pairs = pairs.first(rows)
    losses: list[float] = []

    def cycle(number: int) -> None:
        history = (work.beside(f"{number + 1}") if number else work).fit(
            pixel_error(pairs, draw, settings.ssim),
            _state(settings, net, rows, epochs, draw),
            pairs.source,
            epochs=epochs,
            batch_size=settings.batch_size,
            seed=seed + number,
            name=name.strip() + (f", cycle {number + 1}" if cycles > 1 else ""),
        )
        losses.extend(history.losses.get("net", []))

    error = (lambda: _error(net, *held)) if kept else None
    errors = learn_in_cycles(net, cycle, error, cycles)
    if errors:
        facts["held_out_mse"] = errors
        doubts += still_gaining(errors, cycles)
    net.requires_grad_(False).eval()
    facts |= pairs.told(net, losses)
    return LearnedInverse(net, facts, doubts)


@torch.no_grad()
def _error(net: InverseNetwork, pixels: Tensor, seen: Tensor) -> float:
    """Mean squared error of the answers to held-out pairs."""
    answers = in_pieces(lambda part: net(part).clamp(0, 1), seen, ANSWERED_TOGETHER)
    return float((answers.float() - pixels).square().mean())


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
