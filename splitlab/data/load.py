"""Data sets by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from splitlab.contracts import Registry
from splitlab.data.options import LoadOptions
from splitlab.data.partition import COPIES
from splitlab.data.splits import Splits
from splitlab.errors import BadInput

DATASETS = Registry(
    "dataset",
    {
        "photo-patches": "splitlab.data.photo_patches:load",
        "cifar10": "splitlab.data.cifar:load_cifar10",
        "cifar100": "splitlab.data.cifar:load_cifar100",
        "imagefolder": "splitlab.data.folders.imagefolder:load",
    },
)
Loader = Callable[[str, LoadOptions], Splits]


def load_splits(
    name: str,
    *,
    size: int = 32,
    seed: int = 0,
    root: Path | None = None,
    download: bool = False,
    limits: Mapping[str, int] | None = None,
) -> Splits:
    """Train, auxiliary, validation and victim images of a data set, checked to be disjoint.

    Args:
        name: `photo-patches`, `cifar10`, `cifar100` or `imagefolder:PATH` (folder, tar or tar.gz).
        size: side of the images in pixels, 1 to 2048; other sizes are scaled to it.
        seed: public seed that draws crops, partitions and what `limits` keeps.
        root: where CIFAR lies or is downloaded to; `datasets` where None.
        download: whether CIFAR may be fetched; nothing is ever fetched otherwise.
        limits: partition -> largest number of images kept of it.

    Raises:
        UnknownName: no such data set.
        BadInput: images that are not images, a partition without images, partitions that overlap.
    """
    if not 1 <= size <= 2048:
        raise BadInput(f"size {size}: wanted a side of 1 to 2048 pixels")
    kind, _, argument = name.partition(":")
    loader: Loader = DATASETS.load(kind)
    options = LoadOptions(size, seed, root or Path("datasets"), download)
    splits = loader(argument, options).limited(limits or {}, seed)
    counts = {part: len(images) for part, images in splits.partitions.items()}
    for part, count in counts.items():
        if not count:
            went = ", ".join(f"{part} {count}" for part, count in counts.items())
            went += "".join(f"; {note}" for note in splits.notes if COPIES in note)
            raise BadInput(
                f"{name}: no image is left for {part!r} ({went}); give more images, ten different "
                "ones of a class are enough"
            )
    splits.check_disjoint()
    return splits
