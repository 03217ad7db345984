"""What makes a reader doubt that the folders are classes: folds and months, masks, copies."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from splitlab.data.folders.tally import listed

REPEATED = (
    "folders used as classes, though most of them hold folders of the same names ({inner}), as "
    "folds or months do (where those are the classes, give one of the folders alone, move them to "
    "the top, or name a table's column with ?label=COLUMN)"
)
MASKS = (
    "pictures that seem masks of others by their names, used like any other (take them out of the "
    "folder if they are)"
)
COPIES = "pictures that lie under several classes, exact copies at this size"

_MASK = frozenset(
    [
        "alpha",
        "annot",
        "annotation",
        "annotations",
        "annots",
        "groundtruth",
        "groundtruths",
        "gt",
        "gts",
        "instance",
        "instances",
        "label",
        "labels",
        "mask",
        "masks",
        "matte",
        "mattes",
        "seg",
        "segmentation",
        "segmentations",
        "segmented",
        "segs",
        "trimap",
        "trimaps",
        "truth",
    ]
)
"""Words that mark a mask in the name of its file or folder."""
_AROUND = frozenset(
    [
        "class",
        "classes",
        "color",
        "colour",
        "data",
        "fine",
        "ground",
        "id",
        "ids",
        "image",
        "images",
        "img",
        "imgs",
        "input",
        "inputs",
        "jpeg",
        "jpegimages",
        "jpg",
        "left",
        "object",
        "objects",
        "original",
        "photos",
        "pictures",
        "png",
        "rgb",
    ]
)
"""Words that stand beside those, or mark the picture itself."""
Phrases = tuple[str, ...]


def repeated_inside(tops: Mapping[str, Iterable[str]]) -> tuple[str, list[str]] | None:
    """What to say of classes most of which hold folders of the same two or more names.

    Args:
        tops: class -> names of the folders inside.

    Returns:
        The reason, and the classes; None where they hold nothing alike.
    """
    counts = Counter(name for inside in tops.values() for name in set(inside))
    shared = sorted(name for name, count in counts.items() if count > max(1, len(tops) / 2))
    if len(shared) < 2:
        return None
    return REPEATED.format(inner=listed(shared)), sorted(tops)


def seeming_masks(names: Sequence[str]) -> list[str]:
    """Those of `names` that say "mask" (or the like) and are called like a picture that does not.

    The word may stand in the file's name, anywhere (`x_mask.png` beside `x.png`), or in a folder's
    (`masks/x.png` beside `images/x.png`).
    """
    marked: list[tuple[str, Phrases, Phrases]] = []
    stems: set[Phrases] = set()
    places: set[Phrases] = set()
    for name in names:
        place = PurePosixPath(name)
        folder, stem = _words(str(place.parent)), _words(place.stem)
        if _MASK & {*folder, *stem}:
            marked.append((name, folder, stem))
        else:
            stems.add(_bare(stem))
            places.add(_bare((*folder, *stem)))
    found: list[str] = []
    for name, folder, stem in marked:
        if _MASK & {*stem}:
            before = stem[: next(n for n, word in enumerate(stem) if word in _MASK)]
            called = {_bare(before), _bare(stem)} - {()}
            seems = bool(called & stems)
        else:
            seems = _bare((*folder, *stem)) in places
        if seems:
            found.append(name)
    return found


def copies_of_several(content: Mapping[str, bytes], classes: Mapping[str, str]) -> list[str]:
    """Names of pictures whose very copy lies under another class, copies side by side.

    Args:
        content: name -> hash of its pixels.
        classes: name -> class.
    """
    alike: dict[bytes, list[str]] = {}
    for name in sorted(classes):
        alike.setdefault(content[name], []).append(name)
    torn = [names for names in alike.values() if len({classes[name] for name in names}) > 1]
    return [name for names in torn for name in names]


def _words(name: str) -> Phrases:
    """Lower-case words and numbers; "JPEGImages" and "seg0" are two each."""
    parts = re.sub(r"(?i)8bit", "", name)  # Cityscapes: leftImg8bit
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", parts)
    parts = re.sub(r"(?<=[a-zA-Z])(?=\d)|(?<=\d)(?=[a-zA-Z])", " ", parts)
    return tuple(re.findall(r"[^\W_]+", parts.lower()))


def _bare(words: Phrases) -> Phrases:
    return tuple(word for word in words if word not in _MASK and word not in _AROUND)
