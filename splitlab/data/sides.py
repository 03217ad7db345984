"""Folder names that mean a side of the data (train, test, validation) instead of a class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from splitlab.errors import BadInput

Side = Literal["train", "test", "validation"]

SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "validating": "validation",
    "dev": "validation",
}
FILLERS = frozenset(
    [
        "data",
        "dataset",
        "files",
        "folder",
        "folders",
        "image",
        "images",
        "img",
        "imgs",
        "photos",
        "pics",
        "pictures",
        "sample",
        "samples",
        "seg",
        "set",
        "split",
    ]
)
"""Words that stand beside a side's or around everything, and say nothing."""
UNLABELLED = frozenset(
    [
        "extra",
        "infer",
        "inference",
        "pred",
        "predict",
        "prediction",
        "predictions",
        "unlabel",
        "unlabeled",
        "unlabelled",
        "unsup",
        "unsupervised",
    ]
)
_GLUED = re.compile(r"(?:set|data|images|imgs|img)$")


def side_of(name: str) -> Side | None:
    """The side that a folder (or a table) means: "training_set", "seg_test", "Valid", "val2017"."""
    words = [word for word in _words(name) if word not in FILLERS]
    return _side(words[0]) if len(words) == 1 else None


def sides_of(names: Iterable[str]) -> dict[str, Side] | None:
    """Folder -> side where these folders part the data, else None.

    There must be a training folder beside a held-out one, or beside one without labels: a class
    may be called "train". Further folders belong to no side.

    Raises:
        BadInput: all are held-out sides and none is for training.
    """
    tops = sorted(names)
    found = {top: side for top in tops if (side := side_of(top)) is not None}
    if not _parted(found):
        found = _with_shared_words(tops) or found
    others = [top for top in tops if top not in found]
    if _parted(found):
        return found
    if "train" in found.values() and others and all(map(_is_unlabelled, others)):
        return found
    if len(found) > 1 and not others and "train" not in found.values():
        raise BadInput(
            f"imagefolder: there are {', '.join(f'{top}/' for top in tops)} and no train/; give "
            "the training images too, or name one of the folders alone"
        )
    return None


def is_filler(name: str) -> bool:
    """A folder that only wraps, such as `images/`."""
    words = _words(name)
    return bool(words) and all(word in FILLERS for word in words)


def _with_shared_words(tops: list[str]) -> dict[str, Side] | None:
    """`flowers_train` beside `flowers_test`: a side's word each, and all other words the same."""
    groups: dict[tuple[str, ...], dict[str, Side]] = {}
    for top in tops:
        words = _words(top)
        sides = [side for word in words if (side := _side(word)) is not None]
        if len(sides) == 1:
            rest = tuple(word for word in words if _side(word) is None)
            groups.setdefault(rest, {})[top] = sides[0]
    return next((group for group in groups.values() if _parted(group)), None)


def _parted(found: dict[str, Side]) -> bool:
    return "train" in found.values() and len(set(found.values())) > 1


def _is_unlabelled(name: str) -> bool:
    words = [word for word in _words(name) if word not in FILLERS]
    return bool(words) and all(word in UNLABELLED for word in words)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", name.lower())


def _side(word: str) -> Side | None:
    return SIDES.get(word) or SIDES.get(_GLUED.sub("", word))
