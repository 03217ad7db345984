"""A folder of what takes long to make, each under a name of all that determines it.

An entry's name is a hash of what is in it, and so another run finds it; what a secret had a part in
is named by a random id of its run instead, so that nothing of the secret is told, and no other run
takes it. An entry is locked while it is made. It is a folder that whoever makes it fills, and that
says by itself when it is finished: a kill costs what was under way.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import Timeout

from splitlab import __version__
from splitlab.errors import BadInput, SplitLabError, UnknownName
from splitlab.record import METHOD_VERSION
from splitlab.storage import canonical_json, lock, read_json, require_writable, sha256, write_json

NAME = ".splitlab-cache"
ABOUT = "entry.json"
LETTERS = 16
"""Of a key in a name: 64 bits, which no two entries of one kind share by chance."""


@dataclass(frozen=True)
class CacheEntry:
    """One thing that was made.

    Args:
        what: in a few words.
        size: in bytes.
        age: seconds since it was begun.
    """

    kind: str
    key: str
    what: str
    size: int
    age: float
    folder: Path

    def as_dict(self) -> dict[str, Any]:
        """JSON."""
        names = ("kind", "key", "what", "size", "age")
        return {name: getattr(self, name) for name in names}


class Cache:
    """Entries as `FOLDER/<kind>/<key>/`; a folder is made when the first one is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, kind: str, what: Mapping[str, Any]) -> Path:
        """Where this lies, or would lie; nothing is written.

        Args:
            what: JSON of all that it depends on; a secret's part of it is told by a random id.
        """
        made_by = {"version": __version__, "methods": METHOD_VERSION}
        key = sha256(canonical_json({"kind": kind, "what": what, **made_by}))
        return self.folder / kind / key[:LETTERS]

    @contextlib.contextmanager
    def making(self, kind: str, what: Mapping[str, Any], words: str) -> Iterator[Path]:
        """The same, locked, with a note of what it is, for whoever lists it.

        The note is written while the lock is held: none of an entry that was removed meanwhile,
        and no entry without its note.

        Args:
            words: a line that says what it is, without paths and secrets.

        Raises:
            BadInput, StorageFull: it cannot be written there.
        """
        place = self.place(kind, what)
        with lock(place):
            if not (place / ABOUT).exists():
                write_json(place / ABOUT, {"kind": kind, "what": words, "begun": time.time()})
            yield place

    def entries(self) -> list[CacheEntry]:
        """All of them, kind after kind, the newest first."""
        found = [_entry(path) for path in self.folder.glob("*/*/") if path.is_dir()]
        return sorted(found, key=lambda one: (one.kind, one.age))

    def remove(self, entries: Sequence[CacheEntry]) -> None:
        """
        Raises:
            BadInput: another process makes one of them at this moment; those before it are removed.
        """
        for one in entries:
            try:
                with (held := lock(one.folder)).acquire(timeout=0):
                    shutil.rmtree(one.folder, ignore_errors=True)
                    # while it is held: who waits for it sees that it went, and makes a new one
                    Path(held.lock_file).unlink(missing_ok=True)
            except Timeout as error:
                raise BadInput(
                    f"{one.kind} {one.key} is being made at this moment; wait for its end"
                ) from error
            with contextlib.suppress(OSError):
                one.folder.parent.rmdir()

    def named(self, keys: Sequence[str]) -> list[CacheEntry]:
        """The entries whose keys begin so.

        Raises:
            UnknownName: there is none.
            BadInput: there are several.
        """
        every, found = self.entries(), list[CacheEntry]()
        for key in keys:
            own = [one for one in every if key and one.key.startswith(key)]
            if not own:
                raise UnknownName("entry of the cache", key, [one.key for one in every])
            if len(own) > 1:
                raise BadInput(f"{len(own)} entries begin with {key}; give more of the key")
            found += own
        return found


@contextlib.contextmanager
def making_again(folder: Path) -> Iterator[Path]:
    """A folder of a run that was begun before there was a cache: locked, and without a note."""
    with lock(folder):
        yield folder


def beside(run: Path) -> Cache:
    """The cache of a run for which none was named: beside it, or in it where that is not to be."""
    for folder in (run.absolute().parent / NAME, run / NAME):
        if folder.is_dir() or _writable(folder.parent):
            return Cache(folder)
    return Cache(run / NAME)


def _writable(folder: Path) -> bool:
    try:
        require_writable(folder)
    except SplitLabError:
        return False
    return True


def _entry(folder: Path) -> CacheEntry:
    try:
        about = read_json(folder / ABOUT)
        what, begun = str(about["what"]), float(about["begun"])
    except (SplitLabError, KeyError, TypeError, ValueError):
        told = "damaged" if (folder / ABOUT).exists() else "without a note of what it is"
        what, begun = told, folder.stat().st_mtime
    return CacheEntry(
        kind=folder.parent.name,
        key=folder.name,
        what=what,
        size=sum(_sizes(folder)),
        age=max(0.0, time.time() - begun),
        folder=folder,
    )


def _sizes(folder: Path) -> Iterator[int]:
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file():
                yield path.stat().st_size
