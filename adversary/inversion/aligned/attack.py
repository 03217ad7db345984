"""Aligned shadow: feature inversion from what a server holds, its bodies and captured features.

The lab's own, in the setting of Liu and Xiong 2024 ("Ensembler"): no query, no head, no label of a
victim. The paper's shadow head is only held by cross entropy through the bodies, which very
different heads satisfy. Here the captured features pin the head down to a map of colours:

1. fixed additive noise is read off the captures and taken away;
2. the three principal components of the captured channels are nearly images in unknown colours; a
   shadow head learns on them, and then pictures and head together, until the head makes of the
   pictures what was captured;
3. critics that know how the adversary's own images are coloured propose maps of colours; the best
   of them are aligned through the bodies, until they answer the shadow's features as the captured
   ones, and recognise in a captured feature what goes with the colours of its picture; one is kept.
   This choice can go wrong, and the colours with it; a close one is written down as a doubt;
4. a decoder is learned through the shadow head.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from adversary.contract.attack import Attack, FittedOn, seed_of
from adversary.contract.threat import AuxImages, ThreatModel
from adversary.contract.workplace import ALONE, Estimator, Workplace
from adversary.inversion.aligned.body_agreement import answers
from adversary.inversion.aligned.body_alignment import Alignment, Standard
from adversary.inversion.aligned.colour_choice import JudgedMap, Jury, choose
from adversary.inversion.aligned.colour_map import distinct
from adversary.inversion.aligned.head import ShadowHead
from adversary.inversion.aligned.proposals import ProposalEffort, proposals, require_map
from adversary.inversion.decoder import BRIEF, Decoder
from splitlab.contracts import Estimate, Features, FeatureSpec
from splitlab.contracts.ranges import Epochs
from splitlab.errors import BadInput

MISSES = 0.03
"""Share of the features' variance that a shadow head may miss; all of it can be explained."""
CLEAR = -11.0
"""A map at or below it ends the search: on networks made for development, with photo-patches, wrong
maps hardly came so low. On other data it is a guess."""
CLOSE = 0.5
"""Of two maps as near as this in that sum neither is clearly the better one."""


class AlignedShadow(Attack):
    """Needs a feature map of 4x4 places and 3 channels or more.

    Args:
        bodies: "all", "oracle" (those of the granted selector) or numbers with commas: whose
            answers have a say in the choice of colours.
        critic_epochs: passes over the own images, for each of two critics.
        tried: random maps of colours that are judged.
        started: of them, unlike each other, that are refined for a third of the steps.
        kept: of those, that are refined for the rest.
        refine_steps: of Adam on the twelve numbers of a map, led by the critics.
        searches: for maps, at most, while no map is clearly good.
        aligned: those that critics and bodies like best as proposed, which are aligned through
            the bodies and looked at again.
        align_steps: of Adam on the twelve numbers, led by critics and bodies.
        compared: own images whose shadow features the bodies compare with the captured ones.
        head_epochs: passes over the captures that the shadow head learns for, on principal images.
        picture_epochs: passes in which it and the pictures learn together.
        heads: are learned so from new weights, at most, until one explains what was captured.
        decoder_epochs: passes over the own images that the decoder learns for.
    """

    name: ClassVar[str] = "aligned-shadow"
    source: ClassVar[str] = "the lab's own; setting of Liu and Xiong 2024, section 2.2"
    fitted_on: ClassVar[FittedOn] = "capture"
    asks: ClassVar[Mapping[str, frozenset[str]]] = {
        "undefended": frozenset({"bodies", "capture"}),
        "adaptive": frozenset({"bodies", "capture", "defense"}),
        "unaware": frozenset({"bodies", "capture"}),
    }

    bodies: Annotated[str, Field(pattern=r"^(all|oracle|\d+(,\d+)*)$")] = "all"
    critic_epochs: Annotated[int, Field(ge=1, le=10_000)] = 20
    tried: Annotated[int, Field(ge=1, le=100_000)] = 400
    started: Annotated[int, Field(ge=1, le=1000)] = 32
    kept: Annotated[int, Field(ge=1, le=100)] = 8
    refine_steps: Annotated[int, Field(ge=0, le=10_000)] = 24
    searches: Annotated[int, Field(ge=1, le=100)] = 3
    aligned: Annotated[int, Field(ge=1, le=100)] = 3
    align_steps: Annotated[int, Field(ge=0, le=10_000)] = 40
    compared: Annotated[int, Field(ge=2, le=100_000)] = 300
    head_epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    picture_epochs: Annotated[int, Field(ge=0, le=10_000)] = 80
    heads: Annotated[int, Field(ge=1, le=100)] = 3
    decoder_epochs: Epochs = 3

    def check(self, threat: ThreatModel) -> None:
        who = f"attack {self.name!r}"
        threat.need("arch", who)
        feature: FeatureSpec = threat.need("feature", who)
        require_map(feature.shape)

    def fit(self, threat: ThreatModel, rng: torch.Generator, work: Workplace = ALONE) -> Estimator:
        who, place = f"attack {self.name!r}", work.place
        captured: Tensor = threat.need("capture", who).to(place)
        own: AuxImages = threat.need("aux", who)
        chosen = self._chosen(threat, who)
        used = [copy.deepcopy(body).to(place) for body in chosen]
        seed = seed_of(rng)
        known = proposals(
            captured,
            own.images.images,
            threat.need("arch", who),
            (threat.need("head_end", who), threat.tail_start),
            ProposalEffort(**self.model_dump(include={one.name for one in fields(ProposalEffort)})),
            seed=seed,
            work=replace(work, checkpoint=None),
        )
        noise = known.noise
        compared = own.images.take(min(self.compared, len(own.images)), 0)
        shown, labels = compared.floats(place), compared.labels.to(place)
        # One tensor the bodies may have learned with; several they cannot have.
        alone = len(noise.tensors) == 1
        met = captured if alone else noise.remove(captured)
        replies = [answers(body, met) for body in used]
        scene = Alignment(
            known.head,
            known.white,
            noise if alone else None,
            used,
            [Standard.of(reply) for reply in replies],
            own.images.images.to(place),
            known.colours,
            known.critics,
        )
        jury = Jury(scene, replies, shown, labels)
        judged: list[JudgedMap] = []
        for number in range(self.searches):
            again = known.maps(number)
            judged += choose(
                again, jury, scene, aligned=self.aligned, steps=self.align_steps, seed=seed
            )
            judged.sort(key=lambda found: found.worth)
            if judged[0].worth <= CLEAR:
                break
        left = distinct([found.colours for found in judged], known.colours, len(judged))
        judged = [found for found in judged if any(found.colours is one for one in left)]
        shadow = ShadowHead(known.head, judged[0].colours)
        believing = _believing(threat, shadow, noise.share)
        # On another machine another shadow may have been found.
        beside = work.beside(believing.fingerprint()[:8])
        decoder = Decoder.configured({**BRIEF, "epochs": self.decoder_epochs})
        decode = decoder.fit(believing, rng, beside)
        facts = {
            "noise_read": noise.share,
            "noise_tensors": len(noise.tensors),
            "proposals_seconds": known.seconds,
            "head_error": known.error,
            "maps": [found.rounded() for found in judged],
        }
        doubts = doubts_of(known.error, [found.worth for found in judged])

        def reconstruct(seen: Features) -> Estimate:
            cleaned = replace(seen, features=noise.remove(seen.features))
            answer = decode(cleaned)
            return Estimate(answer.values, doubts + answer.doubts, {**answer.extra, **facts})

        return reconstruct

    def _chosen(self, threat: ThreatModel, who: str) -> list[nn.Module]:
        """The bodies that have a say.

        Raises:
            BadInput: a number that no body has, or one twice.
        """
        bodies: nn.ModuleList = threat.need("bodies", who)
        if self.bodies == "all":
            return list(bodies)
        if self.bodies == "oracle":
            return [bodies[i] for i in threat.need("selector", who)]
        numbers = [int(word) for word in self.bodies.split(",")]
        if len(set(numbers)) != len(numbers):
            raise BadInput(f"bodies={self.bodies}: a body is named twice; name each once")
        if max(numbers) >= len(bodies):
            raise BadInput(
                f"bodies={self.bodies}: {len(bodies)} bodies are granted, numbered from 0"
            )
        return [bodies[i] for i in numbers]


def doubts_of(error: float, worth: list[float]) -> list[str]:
    """What speaks against the attack's result.

    Args:
        error: of the shadow head, in shares of the features' variance.
        worth: of each map of colours that was compared, the kept one's first; less is better.
    """
    found = []
    if error >= MISSES:
        found.append(
            f"the shadow head misses {100 * error:z.0f} % of the variance; the pictures may be "
            "wrong"
        )
    if worth[0] > CLEAR:
        found.append(
            f"no map of colours is clearly good ({worth[0]:z.2f}, wanted {CLEAR:g}); the colours "
            "may be wrong"
        )
    if len(worth) > 1 and worth[1] - worth[0] < CLOSE:
        found.append(
            f"two maps of colours are nearly as good ({worth[0]:z.2f} and {worth[1]:z.2f}); the "
            "colours may be wrong"
        )
    return found


def _believing(threat: ThreatModel, shadow: nn.Module, read: float) -> ThreatModel:
    """The grant with the shadow as its head; noise that was read off is no longer there."""
    known = None if read > 0.5 else threat.defense
    return replace(
        threat, head=shadow, observe=None, defense=known, protectors=None, capture=None, wire=None
    )
