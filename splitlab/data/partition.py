"""Deterministic partitions that keep exact copies of an image together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from splitlab.data.image_set import ImageSet
from splitlab.data.splits import Splits
from splitlab.errors import BadInput
from splitlab.randomness import generator

WITH_TEST = {"train": 0.5, "auxiliary": 0.4, "validation": 0.1}
"""Shares of the training images where a test set brings the victims."""
WITH_TEST_AND_VALIDATION = {"train": 0.6, "auxiliary": 0.4}
ALL = {"train": 0.4, "auxiliary": 0.3, "validation": 0.1, "victims": 0.2}
"""Shares where there is nothing but one set."""
COPIES = "exact copies of held-out images left out"


def partition(
    images: ImageSet, shares: Mapping[str, float], seed: int, name: str
) -> dict[str, ImageSet]:
    """Cut `images` into the partitions of `shares`, class by class, copies staying together.

    Args:
        images: its `groups` are taken as what must not be parted.
        shares: partition -> share, adding to 1.
        seed: public; decides who goes where.
        name: kind of data, the first half of the partitions' names.
    """
    groups, owner = images.groups.unique(return_inverse=True)
    # A group goes by the class of its first image, as copies may carry different labels.
    first = torch.full((len(groups),), len(images)).scatter_reduce_(
        0, owner, torch.arange(len(images)), "amin"
    )
    labels = images.labels[first]
    rng = generator(seed, "partition", name)
    place = torch.empty(len(groups), dtype=torch.int64)
    for label in labels.unique().tolist():
        members = (labels == label).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=rng)]
        # A random offset keeps small classes from all rounding towards the same partition.
        offset = float(torch.rand((), generator=rng))
        quantile = (torch.arange(len(members)) + offset) / len(members)
        borders = torch.tensor(list(shares.values())).cumsum(0)[:-1]
        place[members] = torch.bucketize(quantile, borders, right=True)
    where = place[owner]
    return {
        part: replace(images.subset((where == number).nonzero()[:, 0]), name=f"{name}/{part}")
        for number, part in enumerate(shares)
    }


def by_content(images: ImageSet, seen: Mapping[bytes, int] | None = None) -> ImageSet:
    """The same images with one group for each distinct content, in order of appearance."""
    known = dict(seen or {})
    groups = [known.setdefault(key, len(known)) for key in images.content]
    return replace(images, groups=torch.tensor(groups, dtype=torch.int64))


def without(images: ImageSet, others: ImageSet) -> tuple[ImageSet, int]:
    """`images` less exact copies of one of `others`, and how many were left out."""
    known = set(others.content)
    keep = torch.tensor([key not in known for key in images.content], dtype=torch.bool)
    left_out = len(images) - int(keep.sum())
    return (images.subset(keep.nonzero()[:, 0]) if left_out else images), left_out


def assemble(
    name: str,
    seed: int,
    train: ImageSet,
    test: ImageSet | None = None,
    validation: ImageSet | None = None,
    notes: tuple[str, ...] = (),
) -> Splits:
    """Splits of one set, or of a training set whose test set brings the victims.

    Copies of a victim are left out of the training side, copies of one image stay together;
    `notes` says how many. Groups are the distinct images.

    Raises:
        BadInput: nothing is left of a side, as all of it is copies of another.
    """
    parts: dict[str, ImageSet] = {}
    rest, dropped = train, 0
    for part, given in (("victims", test), ("validation", validation)):
        if given is not None:
            before = len(given)
            for held in parts.values():
                given, copies = without(given, held)
                dropped += copies
            _require_some(given, before, "validation", name)
            rest, copies = without(rest, given)
            dropped += copies
            parts[part] = replace(by_content(given), name=f"{name}/{part}")
    _require_some(rest, len(train), "training", name)
    shares = ALL if test is None else WITH_TEST if validation is None else WITH_TEST_AND_VALIDATION
    parts |= partition(by_content(rest), shares, seed, name)
    if dropped:
        notes = (*notes, f"{dropped} {COPIES}")
    return Splits.of(parts, name, notes)


def _require_some(left: ImageSet, before: int, side: str, name: str) -> None:
    if before and not len(left):
        raise BadInput(
            f"{name}: all {before} {side} images are exact copies of held-out images; give others "
            "on one of the sides"
        )


def of_arrays(pixels: Tensor, labels: Tensor, classes: tuple[str, ...], name: str) -> ImageSet:
    """An `ImageSet` of uint8 [N, 3, S, S] and int64 [N] in which every image is its own group."""
    return ImageSet(pixels, labels, classes, torch.arange(len(labels)), None, name)
