"""Train, auxiliary, validation and victim images, and the check that they are disjoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from splitlab.data.image_set import ImageSet
from splitlab.errors import BadInput, UnknownName
from splitlab.storage import canonical_json, sha256

PARTITIONS = ("train", "auxiliary", "validation", "victims")


@dataclass(frozen=True, eq=False)
class Splits:
    """Four disjoint partitions of one data set.

    Args:
        train: what the victim's network is trained on.
        auxiliary: the adversary's own images.
        validation: what recipes are tuned on.
        victims: what crosses the wire and is attacked.
        name: the data set's kind; never a path.
        notes: what a reader should know, e.g. how many copies were left out.
        folders: the data's own class -> label, where the labels are a network's outputs.
    """

    train: ImageSet
    auxiliary: ImageSet
    validation: ImageSet
    victims: ImageSet
    name: str = ""
    notes: tuple[str, ...] = ()
    folders: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, parts: Mapping[str, ImageSet], name: str = "", notes: tuple[str, ...] = ()
    ) -> Splits:
        """Splits of the four `parts` by name, in any order."""
        train, auxiliary, validation, victims = (parts[part] for part in PARTITIONS)
        return cls(train, auxiliary, validation, victims, name, notes)

    @property
    def partitions(self) -> dict[str, ImageSet]:
        """Name -> images, in the order of the fields."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name in PARTITIONS}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return self.train.size

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 over pixels and labels of all four partitions, and the class names."""
        images = {name: part.hash for name, part in self.partitions.items()}
        return sha256(canonical_json({"classes": list(self.classes), "images": images}))

    def limited(self, limits: Mapping[str, int | None], seed: int = 0) -> Splits:
        """At most `limits[name]` images of each named partition, drawn under `seed`; None for all.

        Raises:
            BadInput: an unknown partition, or a limit below 1.
        """
        for name, count in limits.items():
            if name not in PARTITIONS or (count is not None and count < 1):
                raise BadInput(
                    f"limit {name}={count}: wanted one of {', '.join(PARTITIONS)} and at least 1"
                )
        kept: dict[str, Any] = {
            name: part.take(count, seed)
            for name, part in self.partitions.items()
            if (count := limits.get(name)) is not None
        }
        return replace(self, **kept)

    def mixed(self, parts: Iterable[str], limit: int | None = None, seed: int = 0) -> ImageSet:
        """The named partitions behind one another, at most `limit` images of each."""
        sets = [self.partitions[part] for part in parts]
        sets = [one.take(len(one) if limit is None else limit, seed) for one in sets]
        return sets[0] if len(sets) == 1 else ImageSet.joined(sets)

    def held_out(self, count: int, seed: int) -> Splits:
        """`count` validation images as the victims, and only the others as validation images.

        What is tuned on them is never tuned on a victim, nor scored on what it was granted.

        Raises:
            BadInput: fewer than one would be left to be granted.
        """
        there = len(self.validation)
        if not 0 < count < there:
            raise BadInput(
                f"--images {count}: there are {there} validation images, of which the attack is "
                f"granted at least one; give 1 to {there - 1}"
            )
        victims, others = self.validation.take(count, seed), self.validation.without(count, seed)
        return replace(self, victims=victims, validation=others)

    def relabelled(self, names: Sequence[str], folders: Mapping[str, int]) -> Splits:
        """The same images, labelled with a network's outputs instead of the data's own classes.

        Args:
            names: of all outputs, in their order; these become the classes.
            folders: class of the data -> number of the output that it stands for.
        """
        table = torch.tensor([folders[name] for name in self.classes], dtype=torch.int64)
        parts: dict[str, Any] = {
            name: replace(part, labels=table[part.labels], classes=tuple(names))
            for name, part in self.partitions.items()
        }
        return replace(self, **parts, folders=dict(folders))

    def check_disjoint(self) -> None:
        """Compare all pairs of partitions: source rectangles where both have them, else pixels.

        Raises:
            BadInput: an image of one partition overlaps or equals one of another.
        """
        for (one, first), (two, second) in combinations(self.partitions.items(), 2):
            if first.rectangles is not None and second.rectangles is not None:
                count = overlapping(first.rectangles, second.rectangles)
                how = "overlap in their source with"
            else:
                known = set(first.content)
                count = sum(key in known for key in second.content)
                how = "are identical to"
            if count:
                raise BadInput(
                    f"{self.name or 'data'}: {count} of {len(second)} {two} images {how} {one} "
                    "images; partitions must be disjoint, remove the copies"
                )


def parts_of(text: str) -> dict[str, int | None]:
    """ "train:4000,victims" -> how many images of each partition there are, None for all.

    Raises:
        UnknownName: no such partition.
        BadInput: a number that is none.
    """
    found: dict[str, int | None] = {}
    for part in text.split(","):
        name, colon, count = part.strip().partition(":")
        if name not in PARTITIONS:
            raise UnknownName("partition", name, PARTITIONS)
        if name in found or (colon and not (count.isdecimal() and 0 < int(count) < 10**9)):
            raise BadInput(
                f"--partition {text!r}: wanted each partition once, with a number of images or "
                "none, e.g. train:4000,victims"
            )
        found[name] = int(count) if colon else None
    return found


def overlapping(first: Tensor, second: Tensor) -> int:
    """How many rectangles of `second` [M, 5] share a pixel with one of `first` [N, 5].

    Columns: source id, y0, x0, y1, x1, the last two exclusive.
    """
    count = 0
    for source in second[:, 0].unique().tolist():
        a = first[first[:, 0] == source][None]
        b = second[second[:, 0] == source][:, None]
        top, left = torch.maximum(a[..., 1], b[..., 1]), torch.maximum(a[..., 2], b[..., 2])
        bottom, right = torch.minimum(a[..., 3], b[..., 3]), torch.minimum(a[..., 4], b[..., 4])
        count += int(((top < bottom) & (left < right)).any(dim=1).sum())
    return count
