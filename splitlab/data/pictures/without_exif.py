"""A JPEG or PNG less its EXIF, for files whose EXIF keeps Pillow from opening them at all."""

from __future__ import annotations

import struct

PNG = b"\x89PNG\r\n\x1a\n"
PNG_EXIF = (b"eXIf", b"zTXt", b"iTXt", b"tEXt")
"""Chunks that hold EXIF or text; none of them changes a pixel."""
JPEG_EXIF, JPEG_SCAN = 0xE1, 0xDA


def without_exif(data: bytes) -> bytes:
    """The same picture without EXIF; the bytes as they are where there is none or no way to it."""
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    return data


def _png(data: bytes) -> bytes:
    kept, at = [data[: len(PNG)]], len(PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length  # length, kind, content, checksum
        if data[at + 4 : at + 8] not in PNG_EXIF:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    kept, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != JPEG_SCAN:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if data[at + 1] != JPEG_EXIF:
            kept.append(data[at : at + 2 + length])
        at += 2 + length
    return b"".join([*kept, data[at:]])
