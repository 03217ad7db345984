"""`imagefolder:PATH`: any folder or tar of images; the class is the top folder below the root."""

from __future__ import annotations

from pathlib import PurePosixPath

import torch
from torch import Tensor

from splitlab.data.image_set import ImageSet
from splitlab.data.options import LoadOptions
from splitlab.data.partition import assemble, of_arrays
from splitlab.data.pixels import Pixels, read_pixels
from splitlab.data.splits import Splits
from splitlab.errors import BadInput
from splitlab.surroundings import expanded

NAME = "imagefolder"
SIDES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
"""Top folders that name a side of the data instead of a class."""


def load(argument: str, options: LoadOptions) -> Splits:
    """Splits of the images under the folder, or in the tar or tar.gz, `argument`.

    Folders named train/ beside test/ or val/ keep their sides: train/ is cut into train, auxiliary
    and validation, the other brings the victims (with all three, val/ validates). Otherwise
    everything is cut into all four. Images that lie in the root itself form one class. Files
    without an image's suffix are left alone, and a note says how many.

    Raises:
        BadInput: no path, nothing there, no images, files that are not images, unknown classes.
        Corrupt: a tar that is damaged.
    """
    if not argument:
        raise BadInput("imagefolder needs a path; write imagefolder:PATH (folder, tar or tar.gz)")
    path = expanded(argument)
    if not path.exists():
        raise BadInput(f"imagefolder:{argument}: there is no such folder or file")
    pixels = read_pixels(path, options.size)
    places = [PurePosixPath(name).parts for name in pixels.names]
    places = _below_root(places)
    notes = (f"{pixels.ignored} files that are no images left alone",) if pixels.ignored else ()
    sides = _sides(places)
    if sides is None:
        everything = _image_set(pixels, places, list(range(len(places))), None)
        return assemble(NAME, options.seed, everything, notes=notes)
    classes = tuple(sorted({_class(place[1:]) for place in places}))
    stripped = [place[1:] for place in places]
    sets = {side: _image_set(pixels, stripped, members, classes) for side, members in sides.items()}
    test = sets.get("test")
    if test is None:
        return assemble(NAME, options.seed, sets["train"], sets["validation"], notes=notes)
    return assemble(NAME, options.seed, sets["train"], test, sets.get("validation"), notes)


def _below_root(places: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without folders that wrap everything, as tars often have one; a class is never taken off."""
    while len({place[0] for place in places}) == 1 and min(map(len, places)) > 2:
        places = [place[1:] for place in places]
    return places


def _class(place: tuple[str, ...]) -> str:
    return place[0] if len(place) > 1 else "images"


def _sides(places: list[tuple[str, ...]]) -> dict[str, list[int]] | None:
    """Side -> image numbers where the top folders name sides, else None."""
    tops = {place[0].lower() if len(place) > 1 else "" for place in places}
    if not tops <= set(SIDES):
        return None
    sides: dict[str, list[int]] = {}
    for number, place in enumerate(places):
        sides.setdefault(SIDES[place[0].lower()], []).append(number)
    return sides if "train" in sides and len(sides) > 1 else None


def _image_set(
    pixels: Pixels,
    places: list[tuple[str, ...]],
    members: list[int],
    classes: tuple[str, ...] | None,
) -> ImageSet:
    names = [_class(places[number]) for number in members]
    known = classes or tuple(sorted(set(names)))
    number_of = {name: number for number, name in enumerate(known)}
    labels: Tensor = torch.tensor([number_of[name] for name in names], dtype=torch.int64)
    return of_arrays(pixels.values[torch.tensor(members)], labels, known, NAME)
