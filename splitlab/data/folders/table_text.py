"""Bytes of a table -> text: UTF-8, UTF-16 as spreadsheets export it, else Windows-1252."""

from __future__ import annotations

import codecs

OLD = "tables that are no UTF-8, read as Windows-1252 (save them as UTF-8 if names look wrong)"


def table_text(data: bytes) -> tuple[str, bool]:
    """The text, and whether its encoding was a guess."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace"), False
    if b"\0" in data:
        # Text of two bytes a letter without a mark: the zero halves say which comes first.
        little = data[1::2].count(0) >= data[::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be", "replace"), True
    try:
        return data.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), True
