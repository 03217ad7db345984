"""A tar's pictures, read and never unpacked; hard and symbolic links count like their targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from splitlab.data.folders import listing
from splitlab.data.folders.listing import Listing, is_system, plain_name
from splitlab.data.folders.table_text import OLD, table_text
from splitlab.data.folders.tar_file import NO_END, members, opened, require_end

DEPTH = 40
"""Links that are followed one after the other, as the kernel does."""
PathParts = tuple[str, ...]


def list_tar(path: Path) -> Listing:
    """Every visible file, under its own name and under those of all links to it.

    A link leads to members of the same tar only. One that leads elsewhere is left out by name.

    Raises:
        BadInput: another kind of file.
        Corrupt: damaged, cut short, joined to another one, or no tar.
    """
    found = Listing()
    files: dict[PathParts, int] = {}
    links: dict[PathParts, PathParts | None] = {}
    last = ""
    with opened(path) as archive:
        for member in members(archive):
            place = _parts(member.name)
            last = "/".join(place) or last
            if member.isfile():
                files[place] = member.offset
            elif member.islnk():
                links[place] = _parts(member.linkname)
            elif member.issym():
                links[place] = _target(place[:-1], member.linkname)
            elif not member.isdir():
                found.tally.add(listing.NO_FILES, "/".join(place))
            elif place and not _hidden(place):
                found.folders.add("/".join(place))
        if not require_end(archive, path, last):
            found.tally.add(NO_END, last)
    aliases = _aliases(files, links, found)
    for place, offset in {**files, **aliases}.items():
        name = "/".join(place)
        if _hidden(place):
            found.tally.add(listing.HIDDEN, name)
        else:
            found.put(name, offset)
            found.folders.update(map(str, list(PurePosixPath(name).parents)[:-1]))
    return found


def _aliases(
    files: dict[PathParts, int], links: dict[PathParts, PathParts | None], found: Listing
) -> dict[PathParts, int]:
    """Place -> offset of every file that is reached through a link."""
    below: dict[PathParts, list[PathParts]] = {}
    for place in [*files, *links]:
        for depth in range(len(place)):
            below.setdefault(place[:depth], []).append(place)
    aliases: dict[PathParts, int] = {}
    walked: Counter[PathParts] = Counter()

    def follow(name: PathParts, target: PathParts | None, seen: frozenset[PathParts]) -> None:
        real = None if target is None else _resolved(target, links)
        if real is None:
            why = listing.UNSAFE if target is None else listing.LEADS_NOWHERE
        elif real in files:
            aliases[name] = files[real]
            return
        elif real == name[: len(real)] or real in seen:
            why = listing.IN_A_CIRCLE
        elif walked[real] >= listing.OFTEN:
            why = listing.TOO_OFTEN
        elif real in below:
            walked[real] += 1
            for inner in below[real]:
                if inner in links:
                    follow(name + inner[len(real) :], links[inner], seen | {real})
                else:
                    aliases[name + inner[len(real) :]] = files[inner]
            return
        else:
            why = listing.LEADS_NOWHERE
        found.tally.add(why, "/".join(name))

    for place, target in links.items():
        follow(place, target, frozenset())
    return aliases


def _resolved(place: PathParts, links: dict[PathParts, PathParts | None]) -> PathParts | None:
    """Where a place really lies, links of its folders followed; None for outside or endless."""
    for _ in range(DEPTH):
        at = next((n for n in range(1, len(place) + 1) if place[:n] in links), None)
        if at is None:
            return place
        onward = links[place[:at]]
        if onward is None:
            return None
        place = onward + place[at:]
    return None


def _parts(name: str) -> PathParts:
    """A member's name below the root; what would climb out of it does not."""
    return tuple(plain_name(p) for p in PurePosixPath(name).parts if p not in (".", "..", "/"))


def _target(folder: PathParts, link: str) -> PathParts | None:
    """Where a symbolic link in `folder` leads; None for out of the tar."""
    if link.startswith("/"):
        return None
    place = list(folder)
    for part in PurePosixPath(link).parts:
        if part == "..":
            if not place:
                return None
            place.pop()
        elif part != ".":
            place.append(plain_name(part))
    return tuple(place)


def _hidden(place: PathParts) -> bool:
    return any(is_system(part) for part in place)


def read_tar(path: Path, found: Listing) -> Iterator[tuple[list[str], bytes]]:
    """Every name of a picture, and its bytes, member after member."""
    names: dict[int, list[str]] = {}
    for name, offset in found.pictures.items():
        names.setdefault(int(str(offset)), []).append(name)
    with opened(path) as archive:
        for member in members(archive):
            file = archive.extractfile(member) if member.offset in names else None
            if file is not None:
                yield names[member.offset], file.read()


def tar_tables(path: Path, found: Listing) -> dict[str, str]:
    """Name -> text of every table that is small enough."""
    wanted = {int(str(offset)): name for name, offset in found.tables.items()}
    texts: dict[str, str] = {}
    if not wanted:
        return texts
    with opened(path) as archive:
        for member in members(archive):
            if member.offset in wanted and member.size <= listing.LARGEST_TABLE:
                file = archive.extractfile(member)
                if file is not None:
                    texts[wanted[member.offset]], guessed = table_text(file.read())
                    if guessed:
                        found.tally.add(OLD, wanted[member.offset])
            elif member.offset in wanted:
                found.tally.add(listing.TOO_LARGE, wanted[member.offset])
    return texts
