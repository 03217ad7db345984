"""FORA (Xu et al. 2024, "A Stealthy Wrongdoer: Feature-Oriented Reconstruction Attack against Split
Learning", CVPR, arXiv:2405.04115): without a query, a substitute client learns to send features
that are distributed as the captured ones; its inverse is applied to what was captured.

In the paper the client still learns while its features are taken, and a second architecture stands
in for its own. Here the client is finished and its architecture known, as to `shadow`; the inverse
network is the lab's and learns once the substitute is finished.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, FittedOn, Preset, seed_of
from adversary.contract.believed import Spoil, believed
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.decoder import Decoder, brief_epochs
from adversary.inversion.fora.likeness import MapDistance
from adversary.inversion.fora.substitute import Imitation, imitate
from adversary.inversion.shadow.networks import architecture_head, paper_head
from splitlab.contracts import Estimate, Features, FeatureSpec
from splitlab.contracts.ranges import Epochs, LearningRate, Steps, Weight
from splitlab.errors import BadInput
from splitlab.pieces import in_pieces
from splitlab.storage import canonical_json, hash_tensors, sha256

WHO = "attack 'fora'"
CODE = "X1aoyangXu/FORA, FORA/run.sh; the penalty of FORA/utils.py"
FEW = 32
"""Captured features below which a distribution is a guess."""
COMPARED = 256
"""Features of either kind by which substitutes are compared."""
PIECE = 64


class TriedSubstitute(NamedTuple):
    """A substitute that was trained; how far its features were from captured ones, and are."""

    net: nn.Module
    before: float
    after: float
    losses: list[float]


class FORA(Attack):
    """A substitute of the client, then the lab's decoder on it.

    Neither head nor bodies are needed: captured features and images of the adversary's own are
    all, and no label. The preset "xu2024" has the published rates, steps and weights: hours on a
    CPU. The defaults are a quick version, of kernels alone.

    Args:
        head: "architecture", the head's own with fresh weights; or "paper", three convolutions of
            another architecture (`adversary.inversion.shadow.networks.PaperHead`).
        substitutes: are trained, with seeds of their own; the one whose features are the nearest to
            the captured ones is kept. One may end with another's colours, or with dark for light.
        steps: of a substitute, in whole passes over the images or what it sees of them.
        batch_size: images a step, and captured features beside them.
        learning_rate, critic_rate: of the substitute and of its critic (Adam).
        schedule: of the substitute's learning rate.
        kernels: share of the kernel distance in the substitute's loss; the rest is the critic's,
            which takes many more steps to be of use. With 1, as the public code has it where
            nothing is said, there is none.
        pooled: the kernel distance is also taken of maps averaged over so many places a side; 1
            for whole features alone, as published.
        penalty: weight of the critic's squared distance from a slope of 1.
        width: channels of the critic.
        decoder: the "lab" one, or the lab's under the settings of "he".
        decoder_epochs: passes over the own images that the decoder learns for. None for three of
            the lab's, on large images what `adversary.parts.budget` allows of them, or for he's.
    """

    name: ClassVar[str] = "fora"
    source: ClassVar[str] = "Xu et al. 2024, arXiv:2405.04115"
    fitted_on: ClassVar[FittedOn] = "capture"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"capture"}),
        "adaptive": frozenset({"capture", "defense"}),
        "unaware": frozenset({"capture"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = {
        "xu2024": Preset(
            {
                "substitutes": 1,
                "steps": 40_000,
                "batch_size": 64,
                "learning_rate": 1e-4,
                "critic_rate": 3e-4,
                "schedule": "constant",
                "kernels": 0.8,
                "pooled": 1,
                "penalty": 1000.0,
                "width": 256,
                "decoder": "he",
                "decoder_epochs": None,
            },
            CODE,
        )
    }

    head: Literal["architecture", "paper"] = "architecture"
    substitutes: Annotated[int, Field(ge=1, le=100, description="substitutes trained")] = 3
    steps: Steps = 240
    batch_size: Annotated[int, Field(ge=2, le=65_536, description="images a step")] = 16
    learning_rate: LearningRate = 2e-2
    critic_rate: LearningRate = 1e-3
    schedule: Literal["one cycle", "constant"] = "one cycle"
    kernels: Annotated[float, Field(ge=0, le=1, description="share of the loss")] = 1.0
    pooled: Annotated[int, Field(ge=1, le=1024, description="places a side")] = 4
    penalty: Weight = 10.0
    width: Annotated[int, Field(ge=1, le=4096, description="channels of the critic")] = 32
    decoder: Literal["lab", "he"] = "lab"
    decoder_epochs: Epochs | None = None

    def check(self, threat: ThreatModel) -> None:
        self._fresh(threat, 0)

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place = work.place
        own: AuxImages = threat.need("aux", WHO)
        captured: Tensor = threat.need("capture", WHO).to(place).float()
        if min(len(captured), len(own.images)) < 2:
            raise BadInput(
                f"{WHO} has {len(captured)} captured features and {len(own.images)} images of its "
                "own; a distribution takes at least 2 of both"
            )
        images = own.images.images.to(place)
        # What the wire rounds off is nothing to a substitute, and has no gradient.
        spoil = believed(replace(threat, wire=None), tuple(captured.shape[1:]))
        distance = MapDistance(FeatureSpec(shape=tuple(captured.shape[1:])), self.pooled)
        mark = self._mark(captured)
        tried: list[TriedSubstitute] = []
        for number, seed in enumerate([seed_of(rng) for _ in range(self.substitutes)]):
            net = self._fresh(threat, seed).to(place)
            before = apart(net, images, captured, spoil, seed, distance)
            label = work.beside(f"substitute-{mark}-{number}")
            losses = imitate(net, images, captured, spoil, self._imitation, seed, label)
            after = apart(net, images, captured, spoil, seed, distance)
            tried.append(TriedSubstitute(net, before, after, losses))
        best = nearest(tried)
        facts = {
            "distances": [best.before, best.after],
            "substitute_losses": best.losses,
            "tried": [one.after for one in tried],
        }
        doubts = doubts_of(len(captured), best.before, best.after)
        # Of the substitute the adversary knows all, so that its decoder is a white box's.
        known = replace(threat, head=best.net, bodies=None, tail=None, observe=None, capture=None)
        inverse = self._decoder(images.shape[-1])
        invert = inverse.fit(known, rng, work.beside(f"decoder-{mark}"))

        def reconstruct(observed: Features) -> Estimate:
            found = invert(observed)
            told = {
                **found.extra,
                "settings": inverse.model_dump(mode="json"),
                "learned_from": "the substitute's features",
            }
            return Estimate(found.values, [*doubts, *found.doubts], {**facts, "decoder": told})

        return reconstruct

    def learned_images(self, pairs: int, size: int) -> int | None:
        decoded = self._decoder(size).learned_images(pairs, size)
        if decoded is None:
            return None
        once = self._imitation.epochs(pairs) * self._imitation.rows(pairs)
        return decoded + self.substitutes * once

    @property
    def _imitation(self) -> Imitation:
        names = Imitation.__dataclass_fields__
        return Imitation(**{name: getattr(self, name) for name in names})

    def _fresh(self, threat: ThreatModel, seed: int) -> nn.Module:
        """The substitute with weights drawn under `seed`."""
        if self.head == "paper":
            return paper_head(threat, 64, seed, WHO)
        return architecture_head(threat, seed, WHO)

    def _decoder(self, size: int) -> Decoder:
        """For images of `size` pixels a side."""
        own = {"preset": "he2019"} if self.decoder == "he" else brief_epochs(size)
        epochs = {} if self.decoder_epochs is None else {"epochs": self.decoder_epochs}
        return Decoder.configured({**own, **epochs})

    def _mark(self, captured: Tensor) -> str:
        """Names what a checkpoint depends on, so that another attack's is never continued."""
        settings = canonical_json(self.model_dump(mode="json"))
        return sha256(settings, hash_tensors({"capture": captured}).encode())[:12]


def nearest(tried: Sequence[TriedSubstitute]) -> TriedSubstitute:
    """The first of the nearest; one whose distance is no number only where all are so."""
    return min(tried, key=lambda one: (math.isnan(one.after), one.after))


def apart(
    substitute: nn.Module,
    images: Tensor,
    captured: Tensor,
    spoil: Spoil,
    seed: int,
    distance: MapDistance,
) -> float:
    """Distance between the substitute's features of some of the images and captured ones.

    Of images spread evenly: where they lie class by class the first ones are other pictures, and
    the true client's features of those would be far from the captured ones too.

    Args:
        images: uint8 [n, 3, S, S].
        captured: z^ [m, *feature_shape].
        distance: that a substitute learns by; of whole features alone it is nearly blind.
    """
    spread = torch.linspace(0, len(images) - 1, min(COMPARED, len(images))).long()
    draw = torch.Generator().manual_seed(seed)
    mode = substitute.training
    with torch.no_grad():
        some = images[spread.to(images.device)]
        ours = in_pieces(lambda part: substitute.eval()(part.float() / 255), some, PIECE)
        found = distance(spoil(ours, draw), captured[:COMPARED])
    substitute.train(mode)
    return round(float(found), 5)


def doubts_of(captured: int, before: float, after: float) -> list[str]:
    """What speaks against the attack's result.

    Args:
        captured: features whose distribution was imitated.
        before, after: kernel distance of the substitute's features from captured ones.
    """
    found = []
    if captured < FEW:
        found.append(
            f"{captured} captured features hardly tell a distribution; {FEW} or more were wanted"
        )
    if not after < before:
        found.append("the substitute's features came no nearer to the captured ones")
    return found
