"""Every image of a folder or tar as one uint8 array, decoded once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from splitlab.data.decode import NotAnImage, decode, strict_about_size
from splitlab.errors import BadInput, Corrupt, StorageFull
from splitlab.storage import read_tensors, sha256, write_tensors
from splitlab.surroundings import cache_home

SUFFIXES = frozenset(
    ".bmp .gif .jpe .jpeg .jpg .pgm .png .pnm .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
FORMAT = "pixels-1"
"""Part of the cache's key; changes whenever decoding does."""
CHUNK = 256
"""Files that one thread decodes at a time."""


@dataclass(frozen=True)
class Pixels:
    """Images in the order of their names.

    Args:
        names: paths below the root with "/" between the parts.
        values: uint8 [N, 3, S, S].
        ignored: files that do not look like images and were left alone.
    """

    names: list[str]
    values: Tensor
    ignored: int


def read_pixels(path: Path, size: int) -> Pixels:
    """Decode every image of a folder or tar to `size`, or take it from the cache.

    Raises:
        BadInput: no images, or files that should be images and are not (how many, and the first).
        Corrupt: a tar that is damaged or cut short.
    """
    cached = cache_folder() / "pixels" / f"{_key(path, size)}.safetensors"
    with suppress(Corrupt, KeyError, ValueError, OSError):
        if cached.exists():
            return _unpack(read_tensors(cached))
    pixels = _decode_all(path, size)
    # A cache that cannot be written costs time at the next start, nothing else.
    with suppress(BadInput, StorageFull):
        write_tensors(cached, _pack(pixels))
    return pixels


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/splitlab`, `~/.cache/splitlab`, or where a user without a home has one."""
    return (cache_home() or Path(os.devnull)) / "splitlab"


def _key(path: Path, size: int) -> str:
    """Changes with a tar's bytes, or with the names, sizes and times of a folder's files."""
    if path.is_dir():
        stats = [(name, (path / name).stat()) for name in _walk(path)]
        listing = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        content = json.dumps([str(path.resolve()), listing])
    else:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return sha256(FORMAT.encode(), str(size).encode(), content.encode())


def _pack(pixels: Pixels) -> dict[str, Tensor]:
    words = json.dumps({"names": pixels.names, "ignored": pixels.ignored}).encode()
    return {"values": pixels.values, "words": torch.frombuffer(bytearray(words), dtype=torch.uint8)}


def _unpack(tensors: dict[str, Tensor]) -> Pixels:
    words = json.loads(tensors["words"].numpy().tobytes())
    return Pixels(words["names"], tensors["values"], words["ignored"])


def _walk(folder: Path) -> list[str]:
    """Every visible file below `folder`, as relative posix paths in order."""
    files = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return sorted(file.as_posix() for file in files if _visible(file.parts))


def _visible(parts: tuple[str, ...]) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _files(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """Name and bytes of every visible file; None for one that does not look like an image."""
    if path.is_dir():
        for name in _walk(path):
            yield name, (path / name).read_bytes() if _looks_like_image(name) else None
        return
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                place = PurePosixPath(member.name).parts
                parts = tuple(part for part in place if part not in (".", "..", "/"))
                if not member.isfile() or not _visible(parts):
                    continue
                file = archive.extractfile(member) if _looks_like_image(member.name) else None
                yield "/".join(parts), file.read() if file else None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise Corrupt(path, f"not a whole tar ({error})", "give a folder, tar or tar.gz") from error


def _looks_like_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def _decode_all(path: Path, size: int) -> Pixels:
    found: dict[str, NDArray[np.uint8]] = {}
    broken: dict[str, str] = {}
    ignored = 0

    def work(chunk: list[tuple[str, bytes]]) -> None:
        for name, data in chunk:
            try:
                found[name] = decode(data, size)[0]
            except NotAnImage as error:
                broken[name] = str(error)

    files = _files(path)
    with strict_about_size(), ThreadPoolExecutor() as pool:
        # A window of chunks at a time, so that a large archive is never in memory as a whole.
        while window := list(islice(files, CHUNK * 16)):
            images = [(name, data) for name, data in window if data is not None]
            ignored += len(window) - len(images)
            chunks = [images[at : at + CHUNK] for at in range(0, len(images), CHUNK)]
            list(pool.map(work, chunks))
    if broken:
        first = min(broken)
        raise BadInput(
            f"{path}: {len(broken)} of {len(found) + len(broken)} files are not images, the first "
            f"is {first} ({broken[first]}); repair or remove them"
        )
    if not found:
        raise BadInput(f"{path}: no images there ({ignored} other files); wanted PNG, JPEG, ...")
    names = sorted(found)
    values = np.stack([found.pop(name) for name in names]).transpose(0, 3, 1, 2)
    return Pixels(names, torch.from_numpy(np.ascontiguousarray(values)), ignored)
