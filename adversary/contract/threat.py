"""What an adversary is granted: one frozen object, every field optional, asking is checked."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from torch import Tensor, nn

from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data import ImageSet
from splitlab.data.text.tokens import Sentences
from splitlab.data.text.vocabulary import Vocabulary
from splitlab.errors import BadInput, MissingKnowledge
from splitlab.storage import hash_tensors, sha256

AuxKind = Literal["same distribution", "public", "synthetic"]


@dataclass(frozen=True, eq=False)
class AuxImages:
    """The adversary's own images, disjoint from the victims'.

    Args:
        images: what it trains on.
        validation: what it chooses settings by; may be empty.
        kind: how they relate to the victims' images.
        layers: whose batch norms synthetic ones are made of, "head" or "network"; "" for others.
        making: what is told of the making of synthetic ones (`adversary.synthesis.folder.making`).
    """

    images: ImageSet
    validation: ImageSet
    kind: AuxKind
    layers: str = ""
    making: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """What an attack that learned from them says of their making, for the record."""
        return {"making": dict(self.making)} if self.making else {}

    @property
    def word(self) -> str:
        """What they are: "synthetic" or "real"."""
        return "synthetic" if self.kind == "synthetic" else "real"


@dataclass(frozen=True, eq=False)
class AuxSentences:
    """The adversary's own sentences, disjoint from the victims'.

    Args:
        sentences: what it trains on, or counts.
        validation: what it judges itself by; None for nothing.
        english, german: word lists of source and target; public as a tokenizer is.
    """

    sentences: Sentences
    validation: Sentences | None
    english: Vocabulary
    german: Vocabulary


@dataclass(frozen=True, eq=False)
class Observed:
    """Chosen-input queries to the client: images, and their features as they left the wire.

    Args:
        images: [n] images that the adversary chose, an `ImageSet`, or `Sentences`.
        features: z^ [n, *feature_shape], protected and through the codec.
    """

    images: Any
    features: Tensor

    def __post_init__(self) -> None:
        if len(self.images) != len(self.features):
            raise BadInput(
                f"{len(self.images)} queried images and {len(self.features)} features; "
                "each query has one answer"
            )


@dataclass(frozen=True, eq=False)
class ThreatModel:
    """Granted knowledge; None is "not granted". Modules are deep copies, frozen, in eval mode.

    Args:
        name: what a record calls it.
        feature: shape of what crosses the wire; any capture shows it.
        input: what the client's images are like.
        wire: datatype of the feature on the wire.
        arch: the whole network as data.
        head_end, tail_start: where it is cut.
        head: images [B, 3, S, S] in [0, 1] -> z [B, *feature_shape].
        bodies: the server's networks, z -> outputs.
        tail: outputs -> logits.
        defense: text of the stack of defences, with its levels.
        protectors: the client's own, with the very noise that it fixed.
        selector: indices of the outputs that the client uses.
        P: how many outputs it uses.
        bn_stats: running statistics of the head's batch norms, by name.
        aux: the adversary's images.
        sentences: the adversary's sentences.
        observe: answers to chosen-input queries.
        outputs, gradients: what else was seen.
        capture: z^ of the victims, readable in `fit`: the adversary has it already.
    """

    name: str = ""
    feature: FeatureSpec | None = None
    input: InputSpec | None = None
    wire: str | None = None
    arch: ArchSpec | None = None
    head_end: str | None = None
    tail_start: str | None = None
    head: nn.Module | None = None
    bodies: nn.ModuleList | None = None
    tail: nn.Module | None = None
    defense: str | None = None
    protectors: nn.ModuleList | None = None
    selector: tuple[int, ...] | None = None
    P: int | None = None
    bn_stats: dict[str, Tensor] | None = None
    aux: AuxImages | None = None
    sentences: AuxSentences | None = None
    observe: Observed | None = None
    outputs: Tensor | None = None
    gradients: dict[str, Tensor] | None = None
    capture: Tensor | None = None

    def __post_init__(self) -> None:
        for name in MODULES:
            module = getattr(self, name)
            if module is not None:
                own = copy.deepcopy(module).to("cpu").eval().requires_grad_(False)
                object.__setattr__(self, name, own)

    def need(self, field: str, who: str = "the attack") -> Any:
        """The granted value of `field`.

        Raises:
            MissingKnowledge: it was not granted.
        """
        value = getattr(self, field)
        if value is None:
            raise MissingKnowledge(field, who)
        return value

    def granted(self) -> tuple[str, ...]:
        """Names of the fields that are granted."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) not in (None, ""))

    def fingerprint(self) -> str:
        """Hash of every granted tensor, module and image: an attack leaves it as it was."""
        parts: list[str] = []
        for name in MODULES:
            module = getattr(self, name)
            if module is not None:
                # Parameters and buffers alike: noise and constants need not be in a state dict.
                tensors = dict(module.named_parameters()) | dict(module.named_buffers())
                parts += [name, hash_tensors(tensors), str(module.training)]
        tensors = {n: v for n in ("outputs", "capture") if (v := getattr(self, n)) is not None}
        for name in ("gradients", "bn_stats"):
            tensors |= {f"{name}.{k}": v for k, v in (getattr(self, name) or {}).items()}
        if self.observe is not None:
            chosen = self.observe.images
            queried = chosen.tokens if isinstance(chosen, Sentences) else chosen.images
            tensors |= {"observe": self.observe.features, "queried": queried}
        if self.aux is not None:
            tensors |= {"aux": self.aux.images.images, "held out": self.aux.validation.images}
        if (own := self.sentences) is not None:
            tensors |= {"sentences": own.sentences.tokens}
            tensors |= {} if own.validation is None else {"held aside": own.validation.tokens}
        parts.append(hash_tensors(tensors))
        return sha256(*(part.encode() for part in parts))


MODULES = ("head", "bodies", "tail", "protectors")
