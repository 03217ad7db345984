"""Folder names that mean a side of the data (train, test, validation) instead of a class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

from splitlab.errors import BadInput

Side = Literal["train", "test", "validation"]

SIDES: dict[str, Side] = {
    "train": "train",
    "training": "train",
    "trainval": "train",
    "trn": "train",
    "test": "test",
    "testing": "test",
    "tst": "test",
    "eval": "test",
    "evaluate": "test",
    "evaluation": "test",
    "evaluating": "test",
    "heldout": "test",
    "holdout": "test",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "validating": "validation",
    "dev": "validation",
    "development": "validation",
}
WEAK: dict[str, Side] = {
    "fit": "train",
    "fitting": "train",
    "learn": "train",
    "learning": "train",
    "check": "test",
    "checking": "test",
    "gallery": "test",
    "probe": "test",
    "query": "test",
    "verification": "test",
    "verify": "test",
    "tune": "validation",
    "tuning": "validation",
}
"""Words that mean a side where every folder beside them means one too; else they are classes."""
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
        "private",
        "public",
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
    return _whole(name, _side)


def seems_a_side(name: str) -> bool:
    """Whether a class of this name should make a reader look twice: "test", "trainA", "check"."""
    bare = " ".join(word for word in _words(name) if len(word) > 1)
    return _whole(bare, _weak) is not None


def sides_of(names: Iterable[str]) -> dict[str, Side] | None:
    """Folder -> side where these folders part the data, else None.

    There must be a training folder beside a held-out one, or beside one without labels: a class
    may be called "train". Further folders belong to no side. Other words beside a side's
    (`public_test`) are looked through where each folder has one.

    Raises:
        BadInput: all are held-out sides and none is for training.
    """
    tops = sorted(names)
    labelled = [top for top in tops if not _is_unlabelled(top)]
    for meaning in (_weak_side_of, side_of):
        found = {top: side for top in labelled if (side := meaning(top)) is not None}
        if len(found) == len(labelled) and _parted(found):
            return found
    if not _parted(found):
        loose = {top: side for top in labelled if (side := _one_side(top)) is not None}
        all_mean_one = len(loose) == len(labelled) and _parted(loose)
        found = _with_shared_words(tops) or (loose if all_mean_one else found)
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


def domains_of(names: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    """Folder -> a name for its side, and what is left of its own: `trainA` -> ("train", "a").

    Where two or more words have both sides each, as `trainA`, `trainB`, `testA`, `testB` have.
    None where they have not, or where any folder is no such.
    """
    tops = sorted(names)
    groups = _groups(tops)
    known = {
        top: (side, " ".join(rest)) for rest, own in groups.items() for top, side in own.items()
    }
    parted = len(groups) > 1 and all(rest and _parted(own) for rest, own in groups.items())
    return dict(known) if parted and len(known) == len(tops) else None


def is_filler(name: str) -> bool:
    """A folder that only wraps, such as `images/`."""
    words = _words(name)
    return bool(words) and all(word in FILLERS for word in words)


def _with_shared_words(tops: list[str]) -> dict[str, Side] | None:
    """`flowers_train` beside `flowers_test`: a side's word each, and all other words the same."""
    return next((group for group in _groups(tops).values() if _parted(group)), None)


def _groups(tops: list[str]) -> dict[tuple[str, ...], dict[str, Side]]:
    """Words beside a side's -> the folders that have them, and their sides."""
    groups: dict[tuple[str, ...], dict[str, Side]] = {}
    for top in tops:
        words = _words(top)
        sides = [side for word in words if (side := _side(word)) is not None]
        if len(sides) == 1:
            rest = tuple(word for word in words if _side(word) is None)
            groups.setdefault(rest, {})[top] = sides[0]
    return groups


def _parted(found: dict[str, Side]) -> bool:
    return "train" in found.values() and len(set(found.values())) > 1


def _is_unlabelled(name: str) -> bool:
    words = [word for word in _words(name) if word not in FILLERS]
    return bool(words) and all(word in UNLABELLED for word in words)


def _whole(name: str, side: Callable[[str], Side | None]) -> Side | None:
    """The side of a name that has no words but a side's and fillers: "held-out", "train_val"."""
    words = [word for word in _words(name) if word not in FILLERS]
    return side("".join(words)) if 1 <= len(words) <= 2 else None


def _one_side(name: str) -> Side | None:
    sides = [found for word in _words(name) if (found := _side(word)) is not None]
    return sides[0] if len(sides) == 1 else None


def _weak_side_of(name: str) -> Side | None:
    return _whole(name, _weak)


def _words(name: str) -> list[str]:
    """Lower-case words; "TrainImages" and "trainA" are two each."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W\d_]+", parts.lower())


def _side(word: str) -> Side | None:
    return SIDES.get(word) or SIDES.get(_GLUED.sub("", word))


def _weak(word: str) -> Side | None:
    return _side(word) or WEAK.get(word) or WEAK.get(_GLUED.sub("", word))
