"""Which files of a folder or tar are pictures, and which are something else."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from splitlab.data.folders.tally import Tally

EntryKind = Literal["picture", "table", "unread", "system", "other"]

SUFFIXES = frozenset(
    [
        ".apng",
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jpf",
        ".jpx",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
UNREAD = frozenset(
    [
        ".arw",
        ".cr2",
        ".cr3",
        ".dcm",
        ".dng",
        ".eps",
        ".exr",
        ".hdr",
        ".heic",
        ".heif",
        ".ico",
        ".jxl",
        ".nef",
        ".orf",
        ".pcx",
        ".pfm",
        ".psd",
        ".raf",
        ".raw",
        ".rw2",
        ".svg",
    ]
)
"""Endings of pictures that are not read here."""
SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "icon\r"})
TABLES = frozenset({".csv", ".tsv"})
ANNOTATIONS = "val_annotations.txt"
"""What Tiny ImageNet calls its table of labels."""
LARGEST_TABLE = 64 * 2**20
"""Bytes; a larger table is no list of labels."""

HIDDEN = "left out, hidden or of the system"
NOT_PICTURES = "left out, files that are no images"
NOT_READ = "left out, pictures of an ending that is not read (save them as PNG or JPEG)"
NO_FILES = "left out, neither files nor folders"
LEADS_NOWHERE = "left out, links that lead nowhere"
IN_A_CIRCLE = "left out, links that lead back to a folder they lie in"
OUTSIDE = "linked from outside of the folder, and used"
UNSAFE = "left out, links that lead out of the tar"
UNREADABLE = "left out, cannot be opened"
OFTEN = 32
"""Times that one folder is walked; folders that link to each other have factorially many paths."""
TOO_OFTEN = f"left out, links to a folder that was followed {OFTEN} times already"
TOO_LARGE = "left out, tables too large to be labels"
BROKEN = "left out, not an image"


@dataclass
class Listing:
    """What a folder or tar holds.

    Args:
        pictures: name below the root -> where its bytes are (a path, or a member's offset).
        tables: the same for CSV files and the like.
        folders: every visible folder below the root, links to folders among them.
        stats: what a cache's key is made of.
        tally: what was left out.
    """

    pictures: dict[str, Path | int] = field(default_factory=dict)
    tables: dict[str, Path | int] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    stats: list[tuple[str, int, int]] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)

    def put(self, name: str, where: Path | int) -> None:
        """File a visible file under its kind."""
        kind = kind_of(name)
        if kind == "picture":
            self.pictures[name] = where
        elif kind == "table":
            self.tables[name] = where
        else:
            reasons = {"unread": NOT_READ, "system": HIDDEN, "other": NOT_PICTURES}
            self.tally.add(reasons[kind], name)


def kind_of(name: str) -> EntryKind:
    """By the name alone; what a picture really is, its bytes decide."""
    place = PurePosixPath(name)
    suffix = place.suffix.lower()
    if is_system(place.name):
        return "system"
    if suffix in SUFFIXES:
        return "picture"
    if suffix in TABLES or place.name == ANNOTATIONS:
        return "table"
    return "unread" if suffix in UNREAD else "other"


def is_system(name: str) -> bool:
    """Hidden, or what an operating system or a cloud leaves behind."""
    return name.startswith(".") or name.lower() in SYSTEM


def plain_name(name: str) -> str:
    """A file's name as text: composed accents, and bytes that are no UTF-8 written out."""
    whole = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", whole)


def without_pictures(folders: set[str], pictures: dict[str, Path | int]) -> list[str]:
    """The topmost folders below which no picture lies."""
    used = {"."}
    for name in pictures:
        used.update(map(str, PurePosixPath(name).parents))
    return sorted(f for f in folders if f not in used and str(PurePosixPath(f).parent) in used)
