"""What all contenders of a row are given: one head, one draw of victims and of own images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from adversary.contract.threat import AuxImages, Observed, ThreatModel
from bench.perf.attacks.peers.peer import Exposed
from splitlab.contracts import ArchSpec, FeatureSpec, InputSpec
from splitlab.data import ImageSet, Splits
from splitlab.errors import BadInput
from splitlab.pieces import in_pieces
from splitlab.randomness import generator

ROWS = 250


@dataclass(frozen=True, eq=False)
class DrawnImages:
    """The images of one seed.

    Args:
        seed: under which they were drawn.
        victims: what is read.
        auxiliary: the adversary's own, to learn from.
        validation: its own, granted to choose settings by; a peer learns from them too.
    """

    seed: int
    victims: ImageSet
    auxiliary: ImageSet
    validation: ImageSet

    @classmethod
    def of(
        cls, splits: Splits, seed: int, *, victims: int, auxiliary: int, validation: int
    ) -> DrawnImages:
        """So many of each, other images under another seed.

        Raises:
            BadInput: there are not as many.
        """
        for flag, wanted, part in (
            ("--victims", victims, splits.victims),
            ("--auxiliary", auxiliary, splits.auxiliary),
            ("--validation", validation, splits.validation),
        ):
            if wanted > len(part):
                raise BadInput(
                    f"{flag} {wanted}: {splits.name or 'the data set'} has {len(part)} of them; "
                    "ask for at most as many"
                )
        return cls(
            seed,
            splits.victims.take(victims, seed),
            splits.auxiliary.take(auxiliary, seed),
            splits.validation.take(validation, seed),
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """One split point under one draw.

    Args:
        split: name of the split point.
        arch: the whole network as data.
        head: images [B, 3, S, S] in [0, 1] -> z, in eval mode.
        shape: of one feature.
        draw: the images.
    """

    split: str
    arch: ArchSpec
    head: nn.Module
    shape: tuple[int, ...]
    draw: DrawnImages

    @property
    def input(self) -> InputSpec:
        """Size of the images and what they are normalised by."""
        return self.arch.input

    @cached_property
    def truth(self) -> Tensor:
        """The victims: [n, 3, S, S] in [0, 1]."""
        return self.draw.victims.floats()

    @cached_property
    def features(self) -> Tensor:
        """Theirs: [n, *feature_shape], as they leave an FP32 wire undefended."""
        return self._seen(self.truth)

    @cached_property
    def answers(self) -> Tensor:
        """Those of the auxiliary images, each one query."""
        return self._seen(self.draw.auxiliary.floats())

    @cached_property
    def more_answers(self) -> Tensor:
        """Those of the validation images: ours makes them itself, a peer is given them."""
        return self._seen(self.draw.validation.floats())

    @property
    def groups(self) -> list[int]:
        """The independent unit of each victim: its photograph, or the image itself."""
        found: list[int] = self.draw.victims.groups.tolist()
        return found

    def forget(self) -> None:
        """Let features go: many scenes would fill the memory. They are made again if wanted."""
        for name in ("truth", "features", "answers", "more_answers"):
            vars(self).pop(name, None)

    def threat(self) -> ThreatModel:
        """All that an attack may be granted here; each is then left what it asks for."""
        own = AuxImages(self.draw.auxiliary, self.draw.validation, "same distribution")
        return ThreatModel(
            name="undefended",
            arch=self.arch,
            head_end=self.split,
            feature=FeatureSpec(shape=self.shape),
            input=self.input,
            wire="FP32",
            head=self.head,
            aux=own,
            observe=Observed(self.draw.auxiliary, self.answers),
        )

    def exposed(self, contender: str) -> Exposed:
        """The same for a peer: it chooses nothing, so validation images are pairs to learn from."""
        own = (self.draw.auxiliary, self.draw.validation)
        return Exposed(
            features=self.features,
            head=self.head,
            pairs=torch.cat([images.floats() for images in own]),
            answers=torch.cat([self.answers, self.more_answers]),
            input=self.input,
            rng=self.rng(contender),
        )

    def rng(self, contender: str) -> torch.Generator:
        """What a contender draws from here."""
        return generator(self.draw.seed, "perf attacks", self.split, contender)

    @torch.no_grad()
    def _seen(self, images: Tensor) -> Tensor:
        return in_pieces(self.head, images, ROWS)


def draws(splits: Splits, seeds: Sequence[int], **counts: int) -> list[DrawnImages]:
    """One draw a seed.

    Raises:
        BadInput: there are not as many images.
    """
    return [DrawnImages.of(splits, seed, **counts) for seed in seeds]
