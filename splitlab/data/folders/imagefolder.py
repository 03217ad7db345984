"""`imagefolder:PATH`: any folder or tar of images; `docs/data.md` shows the layouts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from splitlab.data.folders.doubts import COPIES, copies_of_several
from splitlab.data.folders.layout import ONE_CLASS, ClassOf, Layout, arrange
from splitlab.data.folders.pixels import Pixels, read_pixels
from splitlab.data.folders.sides import Side
from splitlab.data.folders.tally import listed
from splitlab.data.image_set import ImageSet
from splitlab.data.options import LoadOptions
from splitlab.data.partition import assemble, of_arrays
from splitlab.data.splits import Splits
from splitlab.errors import BadInput
from splitlab.surroundings import expanded

NAME = "imagefolder"
COLUMN = "?label="
"""Behind the path: which column of its CSV is the class."""


def load(argument: str, options: LoadOptions) -> Splits:
    """Splits of the images under the folder, or in the tar or tar.gz, `argument`.

    Folders that mean train beside test or validation keep their sides: the training images are cut
    into train, auxiliary and validation, the others bring the victims (with all three, validation
    validates). Otherwise everything is cut into all four. What is left out stands in the notes.

    Raises:
        BadInput: no path, nothing there, no images, files that are not images, held-out classes
            that are not trained.
        Corrupt: a tar that is damaged.
    """
    if not argument:
        raise BadInput("imagefolder needs a path; write imagefolder:PATH (folder, tar or tar.gz)")
    path, column = _parsed(argument)
    if not path.exists():
        raise BadInput(f"imagefolder:{argument}: there is no such folder or file")
    pixels = read_pixels(path, options.size)
    layout = arrange(pixels.names, pixels.tables, column)
    if "train" not in layout.sides:
        raise BadInput(f"imagefolder:{argument}: no image of a training side has a label")
    said = _keep_trained(layout)
    classes = tuple(sorted(set(layout.sides["train"].values())))
    sets = {side: _image_set(pixels, own, classes) for side, own in layout.sides.items()}
    _say_copies(pixels, layout, sets)
    notes = (*pixels.tally.joined(layout.tally).notes(), *said)
    train, test, validation = sets["train"], sets.get("test"), sets.get("validation")
    if test is None:
        test, validation = validation, None
    splits = assemble(NAME, options.seed, train, test, validation, notes)
    return Splits.of(splits.partitions, NAME, (*splits.notes, *_thin(splits)))


def _parsed(argument: str) -> tuple[Path, str | None]:
    """The path, and the column that `?label=` names behind it."""
    path = expanded(argument)
    before, mark, column = argument.rpartition(COLUMN)
    if mark and column and not path.exists():
        return expanded(before), column
    return path, None


def _keep_trained(layout: Layout) -> list[str]:
    """Leave out held-out images of classes that the training side has not; says so.

    Raises:
        BadInput: most of a side's images would go: its classes have other names.
    """
    said: list[str] = []
    trained = set(layout.sides["train"].values())
    train = layout.folders.get("train", "train")
    held_out: list[Side] = [side for side in layout.sides if side != "train"]
    for side in held_out:
        own = layout.sides[side]
        folder = layout.folders.get(side, side)
        kept = {number: name for number, name in own.items() if name in trained}
        strange = sorted(set(own.values()) - trained)
        if len(kept) < len(own) / 2:
            raise BadInput(
                f"imagefolder: {len(own) - len(kept)} of {len(own)} images of {folder}/ are of "
                f"classes that {train}/ has not ({listed(strange)}; it has "
                f"{listed(sorted(trained))}); name the classes alike on both sides"
            )
        if strange:
            said.append(
                f"left out, images of classes that only {folder}/ has: {len(own) - len(kept)} "
                f"({listed(strange)})"
            )
        if absent := sorted(trained - set(own.values())):
            said.append(f"classes without an image in {folder}/: {len(absent)} ({listed(absent)})")
        layout.sides[side] = kept
    return said


def _say_copies(pixels: Pixels, layout: Layout, sets: Mapping[Side, ImageSet]) -> None:
    """One picture under several classes; whichever is taken, nobody can learn the others."""
    content: dict[str, bytes] = {}
    classes: dict[str, str] = {}
    for side, own in layout.sides.items():
        members = [pixels.names[number] for number in sorted(own)]
        content |= dict(zip(members, sets[side].content, strict=True))
        classes |= {pixels.names[number]: name for number, name in own.items()}
    if copies := copies_of_several(content, classes):
        layout.tally.add(COPIES, *copies)


def _thin(splits: Splits) -> list[str]:
    """What the labels cannot show: one class alone, or a class that nobody is trained on."""
    if len(splits.classes) == 1:
        why = " as nothing labels them" if splits.classes == (ONE_CLASS,) else ""
        told = f"all images are of one class ({splits.classes[0]}){why}: accuracy says nothing"
        return [told]
    known = set(splits.train.labels.tolist())
    absent = [name for number, name in enumerate(splits.classes) if number not in known]
    if not absent:
        return []
    return [f"classes too small to have a training image: {len(absent)} ({listed(absent)})"]


def _image_set(pixels: Pixels, own: ClassOf, classes: tuple[str, ...]) -> ImageSet:
    number_of = {name: number for number, name in enumerate(classes)}
    members = sorted(own)
    labels: Tensor = torch.tensor([number_of[own[n]] for n in members], dtype=torch.int64)
    return of_arrays(pixels.values[torch.tensor(members)], labels, classes, NAME)
