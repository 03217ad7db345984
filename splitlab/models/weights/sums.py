"""Whether a file of torch.save still holds what was written into it, by its own sums."""

from __future__ import annotations

import zipfile
from pathlib import Path

CHUNK = 1 << 20


def damaged_entry(path: Path) -> str | None:
    """The first entry of a zip whose bytes are not those that its CRC-32 is of; None without one.

    torch can be told to write no true sums (`torch.serialization.set_crc32_options`), and then none
    of them fits: such a file says nothing of damage. One of another format has no sums either.
    """
    if not zipfile.is_zipfile(path):
        return None
    first, some = None, False
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.file_size:
                fits = _fits(archive, entry)
                some |= fits
                first = first or (None if fits else entry.filename)
    return first if some else None


def _fits(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as file:
            while file.read(CHUNK):
                pass
    except (zipfile.BadZipFile, EOFError):
        return False
    return True
