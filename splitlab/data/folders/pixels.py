"""Every image of a folder or tar as one uint8 array, decoded once and kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from splitlab.data.folders.archive import list_tar, read_tar, tar_tables
from splitlab.data.folders.folder import folder_tables, list_folder, read_folder
from splitlab.data.folders.listing import BROKEN, NOT_PICTURES, Listing, without_pictures
from splitlab.data.folders.tally import Tally
from splitlab.data.pictures.colours import Whites, greatest
from splitlab.data.pictures.decode import Decoded, decode, strict_about_size
from splitlab.data.pictures.not_an_image import NotAnImage
from splitlab.errors import BadInput, Corrupt, StorageFull
from splitlab.storage import read_tensors, sha256, write_tensors
from splitlab.surroundings import cache_home

FORMAT = "pixels-4"
"""Part of the cache's key; changes whenever decoding does, or what a tar holds."""
CHUNK = 256
"""Files that one thread decodes at a time."""
EMPTY = "folders without an image"


@dataclass(frozen=True)
class Pixels:
    """Images in the order of their names.

    Args:
        names: paths below the root with "/" between the parts.
        values: uint8 [N, 3, S, S].
        tally: what was left out, and what was done to some of the images.
        tables: name -> text of every CSV file and the like.
    """

    names: list[str]
    values: Tensor
    tally: Tally
    tables: dict[str, str]


def read_pixels(path: Path, size: int) -> Pixels:
    """Decode every image of a folder or tar to `size`, or take it from the cache.

    A file that is no image is left out and counted; so is a link that leads nowhere.

    Raises:
        BadInput: no images, or most of the files that should be images are not.
        Corrupt: a tar that is damaged or cut short.
    """
    listing = list_folder(path) if path.is_dir() else None
    cached = cache_folder() / "pixels" / f"{_key(path, size, listing)}.safetensors"
    with suppress(Corrupt, KeyError, ValueError, OSError):
        if cached.exists():
            return _unpack(read_tensors(cached))
    pixels = _decode_all(path, size, listing)
    # A cache that cannot be written costs time at the next start, nothing else.
    with suppress(BadInput, StorageFull):
        write_tensors(cached, _pack(pixels))
    return pixels


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/splitlab`, `~/.cache/splitlab`, or where a user without a home has one."""
    return (cache_home() or Path(os.devnull)) / "splitlab"


def _key(path: Path, size: int, listing: Listing | None) -> str:
    """Changes with a tar's bytes, or with the names, sizes and times of a folder's files."""
    if listing is not None:
        left_out = listing.tally.kept
        parts = [str(path.resolve()), listing.stats, sorted(listing.folders), left_out]
        content = json.dumps(parts)
    else:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
    return sha256(FORMAT.encode(), str(size).encode(), content.encode())


def _pack(pixels: Pixels) -> dict[str, Tensor]:
    words = {"names": pixels.names, "tally": pixels.tally.kept, "tables": pixels.tables}
    text = bytearray(json.dumps(words).encode())
    return {"values": pixels.values, "words": torch.frombuffer(text, dtype=torch.uint8)}


def _unpack(tensors: dict[str, Tensor]) -> Pixels:
    words = json.loads(tensors["words"].numpy().tobytes())
    return Pixels(words["names"], tensors["values"], Tally(words["tally"]), words["tables"])


def _files(path: Path, listing: Listing) -> Iterator[tuple[list[str], bytes]]:
    if path.is_dir():
        return (([name], data) for name, data in read_folder(listing))
    return read_tar(path, listing)


def _decode_all(path: Path, size: int, listing: Listing | None) -> Pixels:
    listing = list_tar(path) if listing is None else listing
    found, broken = _decoded(_files(path, listing), size)
    whites = greatest(done.scale for done in found.values())
    if dim := [
        name
        for name, done in found.items()
        if done.scale is not None and done.scale.white < whites[done.scale.kind]
    ]:
        # How bright the brightest is, only the end tells: what was scaled by less is read again.
        again = Listing(pictures={name: listing.pictures[name] for name in dim})
        found |= _decoded(_files(path, again), size, whites)[0]
    tally = listing.tally
    for name in sorted(broken):
        tally.add(f"{BROKEN} ({broken[name]})", name)
    for name in sorted(found):
        for remark in found[name].remarks:
            tally.add(remark, name)
    _require_images(path, found, broken, tally)
    if empty := without_pictures(listing.folders, dict.fromkeys(found, 0)):
        tally.add(EMPTY, *empty)
    names = sorted(found)
    values = np.stack([found.pop(name).pixels for name in names]).transpose(0, 3, 1, 2)
    tables = folder_tables(listing) if path.is_dir() else tar_tables(path, listing)
    return Pixels(names, torch.from_numpy(np.ascontiguousarray(values)), tally, tables)


def _decoded(
    files: Iterator[tuple[list[str], bytes]], size: int, whites: Whites | None = None
) -> tuple[dict[str, Decoded], dict[str, str]]:
    """Name -> picture, and name -> why it is none."""
    found: dict[str, Decoded] = {}
    broken: dict[str, str] = {}

    def work(chunk: list[tuple[list[str], bytes]]) -> None:
        for names, data in chunk:
            try:
                done = decode(data, size, whites=whites)
            except NotAnImage as error:
                broken.update(dict.fromkeys(names, str(error)))
            else:
                # Its words are for one picture; a million of them would fill the memory.
                found.update(dict.fromkeys(names, done._replace(done="")))

    with strict_about_size(), ThreadPoolExecutor() as pool:
        # A window of chunks at a time, so that a large archive is never in memory as a whole.
        while window := list(islice(files, CHUNK * 16)):
            chunks = [window[at : at + CHUNK] for at in range(0, len(window), CHUNK)]
            list(pool.map(work, chunks))
    return found, broken


def _require_images(
    path: Path, found: dict[str, Decoded], broken: dict[str, str], tally: Tally
) -> None:
    """
    Raises:
        BadInput: nothing to go on with: no file, or fewer images than files that are none.
    """
    if len(broken) > len(found):
        first = min(broken)
        raise BadInput(
            f"{path}: {len(broken)} of {len(found) + len(broken)} files are not images, the first "
            f"is {first} ({broken[first]}); repair or remove them"
        )
    if not found:
        others = tally.kept.get(NOT_PICTURES, (0, []))[0]
        told = "; ".join(tally.notes()) or f"{others} other files"
        raise BadInput(f"{path}: no images there ({told}); wanted PNG, JPEG, ...")
