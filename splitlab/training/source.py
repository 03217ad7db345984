"""Training data that is resident on the device and cut into batches there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from splitlab.data import ImageSet
from splitlab.errors import BadInput
from splitlab.training.augment import Augment, Mixed


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of the source's tensors, and which rows they are.

    Args:
        tensors: one per tensor of the source; what was uint8 is float32 in [0, 1].
        indices: int64 [B], rows of the source.
        mixed: what of other rows is in the images; None where they are whole.
        epoch: in which it is visited, from 0.
    """

    tensors: tuple[Tensor, ...]
    indices: Tensor
    mixed: Mixed | None = None
    epoch: int = 0

    @property
    def images(self) -> Tensor:
        """The first tensor: [B, 3, S, S] in [0, 1] for an `ImageSet`."""
        return self.tensors[0]

    @property
    def labels(self) -> Tensor:
        """The second tensor: int64 [B] for an `ImageSet`, each image's own."""
        return self.tensors[1]

    def targets(self, classes: int) -> Tensor:
        """What a classifier learns: the labels, or where images are mixed shares [B, classes]."""
        return self.labels if self.mixed is None else self.mixed.targets(self.labels, classes)

    def augmented(self, augment: Augment | None, rng: torch.Generator | None) -> Batch:
        """A batch of floats with its images augmented; that of `TensorSource.batch` is already."""
        if augment is None:
            return self
        return _finished(self._replaced(augment(self.images, rng)), augment, rng)

    def _replaced(self, images: Tensor, mixed: Mixed | None = None) -> Batch:
        return Batch((images, *self.tensors[1:]), self.indices, mixed, self.epoch)


@dataclass(frozen=True, eq=False)
class TensorSource:
    """Tensors of equal length on one device; uint8 means pixels and is handed out as [0, 1].

    Raises:
        BadInput: no tensor, no row, or lengths that differ.
    """

    tensors: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        lengths = [len(t) for t in self.tensors]
        if not lengths or lengths[0] < 1 or len(set(lengths)) != 1:
            raise BadInput(
                f"training data of lengths {lengths}: wanted at least one tensor and one row, and "
                "the same number of rows in each"
            )

    def __len__(self) -> int:
        return len(self.tensors[0])

    @property
    def device(self) -> torch.device:
        return self.tensors[0].device

    @classmethod
    def of(cls, data: ImageSet | TensorSource, device: torch.device | str) -> TensorSource:
        """`data` moved to `device`; an `ImageSet` becomes (images uint8, labels)."""
        tensors = (data.images, data.labels) if isinstance(data, ImageSet) else data.tensors
        return cls(tuple(t.to(device) for t in tensors))

    def batch(
        self,
        indices: Tensor,
        augment: Augment | None = None,
        rng: torch.Generator | None = None,
        epoch: int = 0,
    ) -> Batch:
        """Rows `indices` (int64 [B] on the device); the first tensor is augmented under `rng`."""
        rows = [t[indices] for t in self.tensors]
        if augment is not None:
            rows[0] = augment(rows[0], rng)
        batch = Batch(tuple(_ready(row) for row in rows), indices, epoch=epoch)
        return batch if augment is None else _finished(batch, augment, rng)


def _finished(batch: Batch, augment: Augment, rng: torch.Generator | None) -> Batch:
    """What acts on floats, after shift and flip."""
    images = augment.coloured(batch.images, rng)
    if augment.mix is None:
        return batch._replaced(images)
    return batch._replaced(*augment.mix(images, batch.labels, rng))


def in_batches(order: Tensor, batch_size: int) -> list[Tensor]:
    """Rows in batches of `batch_size`, the last one with what is left.

    A single row that is left joins the batch before it: of one alone a batch norm has no spread.
    """
    parts = list(order.split(batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1 < batch_size:
        left = parts.pop()
        parts[-1] = torch.cat([parts[-1], left])
    return parts


def batch_count(rows: int, batch_size: int) -> int:
    """How many batches `in_batches` makes of so many rows."""
    full, left = divmod(rows, batch_size)
    return full + (left > min(full, 1))


def _ready(rows: Tensor) -> Tensor:
    """Pixels to [0, 1]; maps and images channels last, the layout that `fit` trains in."""
    if rows.ndim == 4:
        rows = rows.contiguous(memory_format=torch.channels_last)
    return rows.float().div_(255) if rows.dtype == torch.uint8 else rows
