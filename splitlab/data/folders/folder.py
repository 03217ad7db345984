"""A folder's pictures; links are followed, but not in a circle."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from splitlab.data.folders import listing
from splitlab.data.folders.listing import Listing, is_system, plain_name
from splitlab.data.folders.table_text import OLD, table_text

Identity = tuple[int, int]


def list_folder(root: Path) -> Listing:
    """Every visible file below `root`; linked files and folders count like those they lead to.

    A link may lead out of `root`: whoever names the folder made it. It is said, and a link back to
    a folder that it lies in is left out, as is one to a folder that was walked often enough.
    """
    found = Listing()
    top = root.resolve()
    around = {_identity(folder) for folder in (top, *top.parents)}
    _walk(root, "", around, top, found, Counter())
    return found


def _walk(
    folder: Path,
    prefix: str,
    around: set[Identity],
    top: Path,
    found: Listing,
    walked: Counter[Identity],
) -> None:
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        found.tally.add(listing.UNREADABLE, prefix or ".")
        return
    for entry in inside:
        name = f"{prefix}/{plain_name(entry.name)}" if prefix else plain_name(entry.name)
        if is_system(entry.name):
            found.tally.add(listing.HIDDEN, name)
            continue
        try:
            stat, is_folder = entry.stat(), entry.is_dir()
            regular = entry.is_file()
        except OSError:  # a link to nothing, or to itself
            found.tally.add(listing.LEADS_NOWHERE, name)
            continue
        path = Path(entry.path)
        if entry.is_symlink() and not path.resolve().is_relative_to(top) and (regular or is_folder):
            found.tally.add(listing.OUTSIDE, name)
        if regular:
            found.put(name, path)
            found.stats.append((name, stat.st_size, stat.st_mtime_ns))
        elif not is_folder:
            found.tally.add(listing.NO_FILES, name)
        elif (here := (stat.st_dev, stat.st_ino)) in around:
            found.tally.add(listing.IN_A_CIRCLE, name)
        elif entry.is_symlink() and walked[here] >= listing.OFTEN:
            found.tally.add(listing.TOO_OFTEN, name)
        else:
            walked[here] += 1
            found.folders.add(name)
            _walk(path, name, around | {here}, top, found, walked)


def _identity(folder: Path) -> Identity:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def read_folder(found: Listing) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every picture; one that cannot be opened is left out and counted."""
    for name, path in sorted(found.pictures.items()):
        try:
            yield name, Path(str(path)).read_bytes()
        except OSError:
            found.tally.add(listing.UNREADABLE, name)


def folder_tables(found: Listing) -> dict[str, str]:
    """Name -> text of every table that is small enough."""
    texts: dict[str, str] = {}
    for name, path in found.tables.items():
        file = Path(str(path))
        try:
            if file.stat().st_size <= listing.LARGEST_TABLE:
                texts[name], guessed = table_text(file.read_bytes())
                if guessed:
                    found.tally.add(OLD, name)
            else:
                found.tally.add(listing.TOO_LARGE, name)
        except OSError:
            found.tally.add(listing.UNREADABLE, name)
    return texts
