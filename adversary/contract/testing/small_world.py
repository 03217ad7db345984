"""A split network in memory, with all that an attack may be granted of it and may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from adversary.contract.attack import Attack
from adversary.contract.oracle import Oracle
from adversary.contract.testing.worlds import INPUT, SECRET, images
from adversary.contract.threat import AuxImages, Observed, ThreatModel
from defenses import parse, protect
from splitlab.contracts import ArchSpec, Features, FeatureSpec, Gradients, Scores, Seen
from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.randomness import FreeDraw, generator
from splitlab.split import Parts, cut

ARCH = ArchSpec(name="tiny_cnn", input=INPUT)
HEAD_END, TAIL_START = "block1", "pool"
DEFENSE = "gaussian:level=0.05,draw=fixed"
"""What acts where an attack is adaptive or unaware."""
GRANTS = (
    *("head", "defense", "noise", "bodies", "tail", "selector", "P", "capture", "observe"),
    *("labels", "oracle"),
)
"""What an attack's `asks` may name. Its own images, and where the network is cut, it always has."""
VICTIMS = 24
OWN = AuxImages(images(96, 1), images(8, 2), "same distribution")


@dataclass(frozen=True, eq=False)
class SmallWorld:
    """What an attack is tried on.

    Args:
        granted: (fields that are granted, defence that acts) -> threat model.
        seen: (kind of sight, images, defence) -> what is seen of these images: of `Scores` the
            logits, with true classes; an attack is shown what it asks for of them.
        items: the victims.
        others: as many images that are none of the victims'; a sight of them tells nothing of the
            victims.
        context: for what is true of the victims, such as who is a member.
    """

    granted: Callable[[frozenset[str], str], ThreatModel]
    seen: Callable[[type[Seen], ImageSet, str], Seen]
    items: ImageSet
    others: ImageSet
    context: Mapping[str, Any] = field(default_factory=dict)

    def threat(self, attack: Attack, fields: frozenset[str], defense: str) -> ThreatModel:
        """What the attack is granted; an oracle answers as it says."""
        found = self.granted(fields, defense)
        if found.oracle is None:
            return found
        return replace(found, oracle=found.oracle.answering(attack.answers))

    def sights(
        self,
        attack: Attack,
        defense: str,
        fields: frozenset[str] = frozenset(),
        *,
        blind: bool = False,
    ) -> tuple[Seen, ...]:
        """What the attack sees of the victims, in its order; blind, of other images.

        Args:
            fields: what it is granted; true classes where `labels` are.
        """
        shown = self.others if blind else self.items
        found = (self.seen(kind, shown, defense) for kind in attack.sees)
        return tuple(_told(one, attack, "labels" in fields) for one in found)


def _told(seen: Seen, attack: Attack, labelled: bool) -> Seen:
    """A sight with no more in it than is granted, answered as the attack says."""
    if isinstance(seen, Scores):
        labels = seen.labels if labelled else None
        if seen.answers != "logits":
            return replace(seen, labels=labels)
        return Scores.of(seen.ids, seen.scores, attack.answers, labels)
    if isinstance(seen, Gradients) and not labelled:
        return replace(seen, labels=None)
    return seen


def small_world() -> SmallWorld:
    """A tiny CNN cut behind its first block: 24 images of 16 pixels, half of them members."""
    victims = images(VICTIMS, 3)
    member = torch.arange(VICTIMS) % 2 == 0
    return SmallWorld(_granted, _seen, victims, images(VICTIMS, 9), {"member": member})


@cache
def _parts() -> Parts:
    net = build(ARCH, seed=0)
    draw = torch.Generator().manual_seed(5)
    for key, value in net.state_dict().items():
        if key.endswith("running_var"):  # as after some training
            value.copy_(0.05 + 0.1 * torch.rand(value.shape, generator=draw))
    return cut(net, HEAD_END, TAIL_START, INPUT.shape)


@torch.no_grad()
def _sent(pixels: Tensor, defense: str) -> Tensor:
    """z^ of images [B, 3, 16, 16] behind a defence, in FP32."""
    parts = _parts()
    protectors = parse(defense).protectors(parts.head.output_shape, SECRET)
    return protect(protectors, parts.head(pixels), FreeDraw(generator(7, "client")))


@torch.no_grad()
def _seen(kind: type[Seen], shown: ImageSet, defense: str) -> Seen:
    """
    Raises:
        BadInput: a sight that is not made here.
    """
    ids = tuple(f"request/{row}" for row in range(len(shown)))
    features, parts = _sent(shown.floats("cpu"), defense), _parts()
    if kind is Features:
        return Features(ids, features, (parts.body(features),))
    if kind is Scores:
        return Scores(ids, parts.tail(parts.body(features)), "logits", shown.labels)
    raise BadInput(f"no small world here shows {kind.__name__}; give world=SmallWorld(...)")


def _granted(fields: frozenset[str], defense: str) -> ThreatModel:
    parts, shape = _parts(), _parts().head.output_shape
    own = OWN.images
    return ThreatModel(
        arch=ARCH,
        head_end=HEAD_END,
        tail_start=TAIL_START,
        feature=FeatureSpec(shape=shape),
        input=INPUT,
        wire="FP32",
        aux=OWN,
        head=parts.head if "head" in fields else None,
        bodies=nn.ModuleList([parts.body]) if "bodies" in fields else None,
        tail=parts.tail if "tail" in fields else None,
        defense=parse(defense).spec if "defense" in fields else None,
        protectors=parse(defense).protectors(shape, SECRET) if "noise" in fields else None,
        selector=(0,) if "selector" in fields else None,
        P=1 if "P" in fields else None,
        capture=_sent(images(VICTIMS, 3).floats("cpu"), defense) if "capture" in fields else None,
        oracle=(
            Oracle(lambda asked: parts.tail(parts.body(_sent(asked, defense))))
            if "oracle" in fields
            else None
        ),
        observe=(Observed(own, _sent(own.floats("cpu"), defense)) if "observe" in fields else None),
    )
