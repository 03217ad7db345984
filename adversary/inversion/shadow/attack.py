"""Query-free inversion through a shadow network (Liu and Xiong 2024, "Ensembler", section 3).

A shadow head and a shadow tail learn the client's task through the server's own frozen bodies, on
the adversary's images; a decoder learns to invert the shadow head and is applied to what was
captured. Neither the client nor its head is asked anything.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from adversary.contract.attack import Attack, FittedOn, Preset, seed_of
from adversary.contract.believed import believed
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.decoder import BRIEF, Decoder, brief_epochs
from adversary.inversion.shadow.bodies import BodyGate, LearnedGate, ShadowNetwork, TopGate
from adversary.inversion.shadow.choice import doubts_of, facts_of, partition, price_of, subsets
from adversary.inversion.shadow.decoder import UpDecoder
from adversary.inversion.shadow.matching import BodyStatistics, Moments, Penalty
from adversary.inversion.shadow.networks import architecture_head, paper_head, shadow_tail
from adversary.inversion.shadow.presets import PRESETS
from adversary.inversion.shadow.training import ShadowSchooling, TrainedShadow, judge, train_shadow
from splitlab.contracts import Estimate, Features
from splitlab.contracts.ranges import BatchSize, Epochs, LearningRate, Weight
from splitlab.data import ImageSet
from splitlab.storage import hash_tensors, sha256
from splitlab.training import batch_count

WHO = "attack 'shadow'"


class Shadow(Attack):
    """Shadow training, then a decoder. The preset "liu2024" is the paper's pipeline as written.

    The defaults are a quick version of it, with the lab's decoder.

    Args:
        head: "paper", three 3x3 convolutions, the last two of which imitate the noise; or
            "architecture", the head's own with fresh weights, behind which the defence is imitated
            where it is granted.
        channels: of the paper's head.
        bodies: "all" with a learned softmax over their outputs; "oracle", the client's own choice,
            granted; numbers such as "0" or "0,2"; "search", every subset of at most 5 bodies (of P
            where P is granted), chosen by the loss on held-out images, or with match=moments by
            the captured features (weight=0 leaves the shadows alone and only chooses so); "top-P",
            a hard choice of P learned along, P granted.
        tensors: whether a tensor is learned that is added to what each body is fed.
        match: what a penalty draws the shadow's features to: the "statistics" that the bodies'
            batch norms remember, or the "moments" of the captured features.
        weight: of that penalty beside the cross-entropy.
        shadows: how many are trained, with seeds of their own; the best is kept by its loss on
            held-out images, plus the distance of its features' moments where a capture is granted.
        decoder: the "lab" one, the lab's under the settings of "he", or the "paper" one.
        decoder_epochs: None for the decoder's own.
    """

    name: ClassVar[str] = "shadow"
    source: ClassVar[str] = "Liu and Xiong 2024, Ensembler, arXiv:2401.10859v1, section 3"
    fitted_on: ClassVar[FittedOn] = "capture"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"bodies"}),
        "adaptive": frozenset({"bodies", "defense"}),
        "unaware": frozenset({"bodies"}),
    }
    presets: ClassVar[Mapping[str, Preset]] = PRESETS

    head: Literal["paper", "architecture"] = "paper"
    channels: Annotated[int, Field(ge=1, le=4096, description="of the paper's head")] = 64
    epochs: Epochs = 8
    batch_size: BatchSize = 32
    learning_rate: LearningRate = 1e-3
    bodies: str = "all"
    tensors: bool = False
    match: Literal["nothing", "statistics", "moments"] = "nothing"
    weight: Weight = 1.0
    shadows: Annotated[int, Field(ge=1, le=100, description="shadows trained")] = 1
    decoder: Literal["lab", "he", "paper"] = "lab"
    decoder_epochs: Epochs | None = None

    @field_validator("bodies")
    @classmethod
    def _known_bodies(cls, text: str) -> str:
        plain = text.replace(" ", "")
        if plain in ("all", "oracle", "search", "top-P"):
            return plain
        if not re.fullmatch(r"\d{1,6}(,\d{1,6})*", plain):
            raise ValueError("wanted all, oracle, search, top-P, or numbers such as 0 or 0,2")
        numbers = [int(part) for part in plain.split(",")]
        if len(set(numbers)) != len(numbers):
            raise ValueError("a body is named twice; name each once")
        return plain

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        place = work.place
        own: AuxImages = threat.need("aux", WHO)
        images, held_out = partition(own, WHO)
        choices = subsets(self.bodies, threat, WHO)
        seeds = [seed_of(rng) for _ in range(self.shadows)]
        captured = self._captured(threat, place)
        mark = self._mark(threat) if work.checkpoint is not None else ""
        best: TrainedShadow | None = None
        tried: list[dict[str, Any]] = []
        for ids, (number, seed) in itertools.product(choices, enumerate(seeds)):
            label = ",".join(map(str, ids))
            net = self._network(threat, ids, images, seed, place)
            history = train_shadow(
                net,
                images,
                self._schooling,
                penalty=self._penalty(net, captured),
                seed=seed,
                work=_kept(work, f"shadow-{mark}-{label}-{number}"),
                name=f"shadow of {label}",
            )
            draw = torch.Generator().manual_seed(seed)
            trained = TrainedShadow(ids, net, history, judge(net, held_out, captured, draw, place))
            tried.append(trained.facts())
            if best is None or self._score(trained) < self._score(best):
                best = trained
        assert best is not None
        inverse, kept = self._decoder(images.images.shape[-1]), ",".join(map(str, best.ids))
        invert = inverse.fit(
            self._as_if_client(threat, best.net.sender()),
            rng,
            _kept(work, f"decoder-{mark}-{self.decoder}-{kept}"),
        )
        facts = facts_of(best, tried, held_out)
        if self.bodies == "search":
            total = len(threat.need("bodies", WHO))
            facts |= price_of(total, len(choices), facts["shadow_seconds"])
        doubts = doubts_of(best.judged, held_out)

        def reconstruct(observed: Features) -> Estimate:
            found = invert(observed)
            told = {
                **found.extra,
                "settings": inverse.model_dump(mode="json"),
                "learned_from": "the shadow's features",
            }
            return Estimate(found.values, [*doubts, *found.doubts], {**facts, "decoder": told})

        return reconstruct

    @property
    def _schooling(self) -> ShadowSchooling:
        return ShadowSchooling(self.epochs, self.batch_size, self.learning_rate, self.weight)

    def _captured(self, threat: ThreatModel, device: torch.device) -> Moments | None:
        """Needed to match moments; else used where it is granted."""
        if self.match == "moments":
            threat.need("capture", WHO)
        if threat.capture is None:
            return None
        return Moments(threat.capture.float(), threat.need("feature", WHO)).to(device)

    def _network(
        self,
        threat: ThreatModel,
        ids: tuple[int, ...],
        images: ImageSet,
        seed: int,
        device: torch.device,
    ) -> ShadowNetwork:
        """A fresh shadow through these bodies."""
        spoil = None
        if self.head == "architecture":
            head = architecture_head(threat, seed, WHO)
            if threat.defense is not None:
                # What the wire rounds off is nothing to a shadow, and has no gradient.
                bare = replace(threat, wire=None, head=None, bodies=None, tail=None)
                spoil = believed(bare, threat.need("feature", WHO).shape)
        else:
            head = paper_head(threat, self.channels, seed, WHO)
        bodies = [threat.need("bodies", WHO)[i] for i in ids]
        feature = threat.need("feature", WHO).shape
        with torch.inference_mode():
            output = tuple(bodies[0](torch.zeros(2, *feature)).shape[1:])
        tail = shadow_tail(threat, output, len(ids), len(images.classes), seed, WHO)
        return ShadowNetwork(
            head,
            bodies,
            self._gate(threat, len(ids), len(images)),
            tail,
            device=device,
            spoil=spoil,
            offsets=feature if self.tensors else None,
        )

    def _gate(self, threat: ThreatModel, bodies: int, rows: int) -> BodyGate:
        if self.bodies == "all":
            return LearnedGate(bodies)
        if self.bodies == "top-P":
            steps = max(1, self.epochs * batch_count(rows, self.batch_size))
            return TopGate(bodies, threat.need("P", WHO), steps)
        return BodyGate(bodies)

    def _penalty(self, net: ShadowNetwork, captured: Moments | None) -> Penalty | None:
        if self.match == "statistics":
            return BodyStatistics(net.bodies)
        if self.match == "moments" and captured is not None and self.weight > 0:
            return captured.distance
        return None

    def _score(self, trained: TrainedShadow) -> float:
        """Lower is better; between subsets, moments alone where they are what is matched."""
        judged = trained.judged
        if self.bodies == "search":
            by_moments = self.match == "moments" and judged.distance is not None
            return judged.distance if by_moments else judged.loss  # type: ignore[return-value]
        return judged.score

    def _decoder(self, size: int) -> Attack:
        """For images of `size` pixels a side."""
        epochs = {} if self.decoder_epochs is None else {"epochs": self.decoder_epochs}
        if self.decoder == "paper":
            return UpDecoder.configured(epochs)
        if self.decoder == "he":
            return Decoder.configured({"preset": "he2019", **epochs})
        return Decoder.configured({"ssim": BRIEF["ssim"], **brief_epochs(size), **epochs})

    def _as_if_client(self, threat: ThreatModel, shadow: nn.Module) -> ThreatModel:
        """What the decoder is granted: the shadow in the head's place, and no answer to a query.

        The paper's head holds the noise already; in front of the architecture's own it still acts.
        """
        imitates = self.head == "paper"
        return replace(
            threat,
            head=shadow,
            bodies=None,
            tail=None,
            observe=None,
            capture=None,
            defense=None if imitates else threat.defense,
            protectors=None if imitates else threat.protectors,
        )

    def _mark(self, threat: ThreatModel) -> str:
        """Names what a checkpoint depends on, so that another attack's is never continued."""
        bodies = threat.need("bodies", WHO)
        settings = self.model_dump_json(exclude={"bodies", "decoder", "decoder_epochs"})
        captured = {} if threat.capture is None else {"capture": threat.capture}
        parts = (settings, hash_tensors(bodies.state_dict()), hash_tensors(captured))
        # A learned gate and equal weights are different networks through the same bodies.
        kind = self.bodies if self.bodies in ("all", "top-P") else "fixed"
        return sha256(*(part.encode() for part in (*parts, kind)))[:12]


def _kept(work: Workplace, label: str) -> Workplace:
    """With a checkpoint of its own for each of the attack's trainings."""
    own = work.checkpoint and work.checkpoint.with_name(f"{work.checkpoint.name}.{label}")
    return replace(work, checkpoint=own)
