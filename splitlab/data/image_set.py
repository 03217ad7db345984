"""Images that live in memory as uint8, with labels, independent groups and where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from splitlab.errors import BadInput
from splitlab.randomness import generator
from splitlab.storage import hash_tensors


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N square RGB images of one size.

    Args:
        images: uint8 [N, 3, S, S] on the CPU.
        labels: int64 [N], each in [0, len(classes)).
        classes: names in the order of the labels.
        groups: int64 [N]; images of one group are not independent of each other, so that intervals
            are bootstrapped over groups (photograph for photo-patches, the image itself elsewhere).
        rectangles: int32 [N, 5] or None: source id, y0, x0, y1, x1 in pixels of the source, y1 and
            x1 exclusive.
        name: kind of data and partition, e.g. "photo-patches/train"; never a path.

    Raises:
        BadInput: shapes, types or ranges that do not fit together.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    groups: Tensor
    rectangles: Tensor | None = None
    name: str = ""

    def __post_init__(self) -> None:
        count = self.images.shape[0]
        if self.images.dtype != torch.uint8 or self.images.shape[1:2] != (3,):
            raise BadInput(
                f"{self.name or 'images'}: wanted uint8 [N, 3, S, S], got "
                f"{self.images.dtype} {list(self.images.shape)}; convert to RGB first"
            )
        if self.labels.shape != (count,) or self.groups.shape != (count,):
            raise BadInput(
                f"{self.name or 'images'}: {count} images need {count} labels and groups, got "
                f"{list(self.labels.shape)} and {list(self.groups.shape)}"
            )
        if count and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise BadInput(
                f"{self.name or 'images'}: labels run from {int(self.labels.min())} to "
                f"{int(self.labels.max())}, wanted 0 to {len(self.classes) - 1}"
            )

    def __len__(self) -> int:
        return self.images.shape[0]

    @property
    def size(self) -> int:
        """Side of an image in pixels."""
        return self.images.shape[-1]

    def subset(self, indices: Tensor | Sequence[int]) -> ImageSet:
        """The images at `indices`, in that order; copies, so that the rest can be freed."""
        index = torch.as_tensor(indices, dtype=torch.int64)
        return ImageSet(
            self.images[index],
            self.labels[index],
            self.classes,
            self.groups[index],
            None if self.rectangles is None else self.rectangles[index],
            self.name,
        )

    @classmethod
    def joined(cls, sets: Sequence[ImageSet]) -> ImageSet:
        """Images of several partitions behind one another.

        Groups of one number are the same group where all come from named sources, as photographs
        do; else each partition's are its own.
        """
        sources = [one.rectangles for one in sets if one.rectangles is not None]
        groups, free = [], 0
        for one in sets:
            groups.append(one.groups if len(sources) == len(sets) else one.groups + free)
            free = int(groups[-1].max()) + 1 if len(one) else free
        return cls(
            torch.cat([one.images for one in sets]),
            torch.cat([one.labels for one in sets]),
            sets[0].classes,
            torch.cat(groups),
            torch.cat(sources) if len(sources) == len(sets) else None,
            "+".join(one.name for one in sets),
        )

    def take(self, count: int, seed: int = 0) -> ImageSet:
        """`count` images drawn without replacement under `seed`; all of them where fewer exist."""
        return self if count >= len(self) else self.subset(self._drawn(seed)[:count].sort().values)

    def without(self, count: int, seed: int = 0) -> ImageSet:
        """Those that `take` leaves."""
        return self.subset(self._drawn(seed)[count:].sort().values)

    def _drawn(self, seed: int) -> Tensor:
        return torch.randperm(len(self), generator=generator(seed, "take", self.name))

    def floats(self, device: torch.device | str = "cpu") -> Tensor:
        """All images as float32 [N, 3, S, S] in [0, 1] on `device`."""
        return self.images.to(device).float().div_(255)

    @cached_property
    def hash(self) -> str:
        """Hex SHA-256 over pixels and labels."""
        return hash_tensors({"images": self.images, "labels": self.labels})

    @cached_property
    def content(self) -> tuple[bytes, ...]:
        """One 16-byte hash of the pixels per image: equal for exact copies."""
        rows = self.images.flatten(1).numpy()
        return tuple(hashlib.blake2b(row.data, digest_size=16).digest() for row in rows)
