"""A tar's members to its very end; Python's reader takes any bad header for the end."""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from splitlab.data.folders.listing import kind_of
from splitlab.errors import BadInput, Corrupt

PACKED = {
    b"PK\3\4": "zip",
    b"PK\5\6": "zip",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"\x28\xb5\x2f\xfd": "file packed by zstd",
    b"PAR1": "parquet file",
    b"\x89HDF": "HDF5 file",
    b"\x93NUMPY": "NumPy file",
}
"""First bytes of what people give instead of a tar."""
NO_END = "the tar has no whole end marker; the last file that is there"
BLOCK = tarfile.BLOCKSIZE
MARKER = 2 * BLOCK
"""Bytes of zeros that every usual writer puts at the end; GNU tar fills up its record with more."""
CHUNK = 2**20
_UNREADABLE = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError)
_MISREAD = (ValueError, LookupError, OverflowError)
"""What Python's reader raises beside its own errors, of numbers in extended headers."""


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """
    Raises:
        BadInput: another kind of file.
        Corrupt: damaged, cut short, or no tar.
    """
    _require_tar(path)
    try:
        with _open(path) as archive:
            yield archive
    except _UNREADABLE as error:
        why = str(error).partition("\n")[0].rstrip(":")
        raise _corrupt(path, why) from error


def _open(path: Path) -> tarfile.TarFile:
    """
    Raises:
        tarfile.ReadError: no tar.
    """
    try:
        return tarfile.open(path)
    except tarfile.ReadError as error:  # its words are those of every compression that was tried
        empty = "empty file" in str(error)
        why = "it is empty" if empty else "neither plain nor packed by gzip, bzip2 or xz"
        raise tarfile.ReadError(why) from error
    except _MISREAD as error:
        raise tarfile.ReadError("its first header is damaged") from error


def _require_tar(path: Path) -> None:
    """
    Raises:
        BadInput: a zip and the like, or a picture.
    """
    with path.open("rb") as file:
        first = file.read(16)
    if kind := next((kind for magic, kind in PACKED.items() if first.startswith(magic)), None):
        raise BadInput(f"{path}: a {kind}; unpack it first and give its folder, or give a tar")
    if kind_of(path.name) == "picture":
        raise BadInput(f"{path}: one picture; give a folder of pictures")
    if kind_of(path.name) == "table":
        raise BadInput(f"{path}: a table; give the folder that holds it and its pictures")


def members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member in order.

    Raises:
        tarfile.ReadError: a header that cannot be read.
    """
    reached = -1
    while True:
        try:
            member = archive.next()
        except _MISREAD as error:
            why = f"the header at byte {archive.offset} is damaged"
            raise tarfile.ReadError(why) from error
        if member is None:
            return
        if member.offset <= reached:  # a size below zero leads back, for ever
            raise tarfile.ReadError(f"the header at byte {member.offset} leads back")
        reached = member.offset
        yield member


def require_end(archive: tarfile.TarFile, path: Path, last: str) -> bool:
    """Whether the end marker is whole, once `members` has given all; nothing but zeros follows.

    GNU tar, bsdtar and Go read a tar that just ends behind a file, without a word: some programs
    forget to close theirs. One that was cut there looks the same. So it is refused, unless it has
    half a marker, or its compression's own check says that nothing is missing.

    Args:
        last: the last member, for messages; "" for none.

    Raises:
        Corrupt: a damaged header, one that is cut, no end marker, or bytes behind it.
    """
    file = archive.fileobj
    if file is None:  # only a closed one has none
        return False
    file.seek(archive.offset)
    first = file.read(BLOCK)
    after = f" after {last}" if last else ""
    if first.strip(b"\0"):
        what = "is damaged" if len(first) == BLOCK else "is cut short"
        raise _corrupt(path, f"the header at byte {archive.offset}{after} {what}")
    zeros = len(first)
    while chunk := file.read(CHUNK):
        if rest := chunk.lstrip(b"\0"):
            at = archive.offset + zeros + len(chunk) - len(rest)
            raise Corrupt(
                path,
                f"not a whole tar (it ends at byte {archive.offset}{after}, but more follows at "
                f"byte {at}: zeros in its middle, or tars that were joined)",
                "copy it again; of joined ones give the folder into which "
                "`tar --ignore-zeros -xf` unpacks them",
            )
        zeros += len(chunk)
    if not zeros and isinstance(file, io.BufferedReader):
        mend = f"truncate -s +{MARKER} {quote(path.name)}"
        raise Corrupt(
            path,
            f"not a whole tar (no end marker at byte {archive.offset}{after}, as where it was cut)",
            f"copy it again; if it is whole, `{mend}` adds the marker",
        )
    return zeros >= MARKER


def _corrupt(path: Path, why: str) -> Corrupt:
    return Corrupt(path, f"not a whole tar ({why})", "copy it again, or give a folder or tar.gz")
