"""What networks of an experiment are: data, recipe, where they are cut, which images are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from adversary.synthesis.folder import HELD_OUT
from bench.point.recipe import input_of
from splitlab.contracts import ArchSpec
from splitlab.contracts.ranges import Count
from splitlab.data import Splits
from splitlab.errors import BadInput
from splitlab.models import fixed_outputs
from splitlab.training import TrainRecipe

Scale = Literal["quick", "paper"]


class Setup(BaseModel):
    """What all deployments of an experiment share.

    Args:
        model, arguments: the network; `splitlab.models.build` knows them.
        dataset: name, or "" where the user has to name one.
        size: side of the images in pixels.
        mean, std: of the images, a channel each; None for the network's own.
        head_end, tail_start: the two split points, where a place names no others.
        recipe: of every training.
        train, auxiliary, validation, victims: numbers of images; None for all there are.
        queries: chosen inputs that the ceiling's decoder may have the client send.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    dataset: str
    size: int = 32
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    head_end: str
    tail_start: str | None
    recipe: TrainRecipe
    train: Count | None = None
    auxiliary: Count | None = None
    validation: Count | None = None
    victims: Count | None = None
    queries: Count = 2000

    def arch(self, classes: int) -> ArchSpec:
        """The undefended network for this many classes."""
        given = input_of(self.model, self.size, self.mean, self.std)
        named = ArchSpec.named(self.model, classes=classes, input=given)
        return named.model_copy(update={"arguments": {**named.arguments, **self.arguments}})

    @property
    def untrained(self) -> ArchSpec:
        """The network for as many classes as it has by itself, else two: before data are loaded."""
        return self.arch(fixed_outputs(self.arch(classes=2)) or 2)

    @model_serializer(mode="wrap")
    def _as_before(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what nobody gave, as setups were before they had it."""
        found: dict[str, Any] = dump(self)
        return {k: v for k, v in found.items() if v is not None or k not in ("mean", "std")}

    def counted(self, splits: Splits, adapt: bool = False) -> Setup:
        """The same setup with every number of images filled in from what there is.

        Args:
            adapt: numbers above what there is become it; for data that the user named, where
                nobody gave the numbers.

        Raises:
            BadInput: more images are asked for than there are; a record would state a false number.
        """
        found: dict[str, int] = {}
        for part, images in splits.partitions.items():
            asked = getattr(self, part)
            if asked is not None and asked > len(images) and not adapt:
                raise BadInput(
                    f"{asked} {part} images are wanted, {splits.name or self.dataset} has "
                    f"{len(images)}; give a larger data set"
                )
            found[part] = min(asked or len(images), len(images))
        found["queries"] = min(self.queries, found["auxiliary"])
        return self.model_copy(update=found)


@dataclass(frozen=True)
class Place:
    """One deployment: a defence, and where the network is cut.

    Args:
        name: unique in the experiment; names a folder.
        defense: text that `defenses.parse` reads.
        head_end, tail_start: None for the setup's.
    """

    name: str
    defense: str = "none"
    head_end: str | None = None
    tail_start: str | None = None


@dataclass(frozen=True)
class Synthetic:
    """Images of the adversary's own making, in place of real ones.

    Args:
        layers: whose batch norms it reads: the head's, or the whole network's.
        images: to learn from.
        settings: of the synthesis.
    """

    layers: Literal["head", "network"]
    images: int
    settings: Mapping[str, Any] = field(default_factory=dict)

    HELD_OUT: ClassVar[int] = HELD_OUT
    """More of them, to choose settings by."""

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        return {"layers": self.layers, "images": self.images, "settings": dict(self.settings)}
