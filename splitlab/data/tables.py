"""A table that names the class of each image: `labels.csv`, or `val_annotations.txt`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from splitlab.data.listing import ANNOTATIONS, plain_name
from splitlab.errors import BadInput

FILE = ("file", "filename", "file_name", "image", "image_name", "image_id", "img", "path", "id")
LABEL = ("label", "class", "class_name", "category", "labels", "target", "species", "breed")
SIDE = ("split", "subset", "partition", "set")


@dataclass(frozen=True)
class Labels:
    """What one table says of the images.

    Args:
        table: its name below the root.
        of: image name -> class.
        side: image name -> what its column `split` holds, where there is one.
        absent: rows whose image is not there.
    """

    table: str
    of: dict[str, str]
    side: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def labels_of(
    names: Iterable[str], tables: Mapping[str, str], column: str | None = None
) -> Labels | None:
    """The labels of `names` from the first table that has some: `labels.csv` before others.

    Args:
        names: of images below the root.
        tables: name -> text of those tables that may speak of them.
        column: which one holds the class, where it has none of the usual names.

    Raises:
        BadInput: `column` is in no table.
    """
    wanted = list(names)
    order = sorted(
        tables, key=lambda t: (PurePosixPath(t).stem.lower() != "labels", t.count("/"), t)
    )
    seen: list[str] = []
    for table in order:
        header, rows = _rows(table, tables[table])
        seen += header
        found = _read(table, header, rows, wanted, column)
        if found is not None and found.of:
            return found
    if column is not None:
        told = ", ".join(dict.fromkeys(seen)) or "there is no CSV"
        raise BadInput(f"?label={column}: no CSV has such a column of images; columns: {told}")
    return None


def _rows(table: str, text: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows; commas, semicolons or tabs, whichever the first line has most of."""
    lines = text.splitlines()
    if not lines:
        return [], []
    delimiter = max(",;\t", key=lines[0].count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error:
        return [], []
    if PurePosixPath(table).name == ANNOTATIONS:
        return ["file", "label"], rows
    return [word.strip().lower() for word in rows[0]] if rows else [], rows[1:]


def _read(
    table: str, header: list[str], rows: list[list[str]], names: list[str], column: str | None
) -> Labels | None:
    file = next((header.index(word) for word in FILE if word in header), None)
    usual = LABEL if column is None else (column.lower(),)
    label = next((header.index(word) for word in usual if word in header), None)
    side = next((header.index(word) for word in SIDE if word in header), None)
    if file is None or label is None or file == label:
        return None
    known = _by_name(names, PurePosixPath(table).parent)
    found = Labels(table, {})
    for row in rows:
        if len(row) <= max(file, label) or not row[label].strip():
            continue
        image = known.get(plain_name(row[file].strip().replace("\\", "/").removeprefix("./")))
        if image is None:
            found.absent.append(row[file].strip())
            continue
        found.of[image] = plain_name(row[label].strip())
        if side is not None and len(row) > side:
            found.side[image] = row[side].strip()
    return found


def _by_name(names: list[str], folder: PurePosixPath) -> dict[str, str]:
    """How a table may name an image -> its name: below the root or the table, bare, no ending."""
    known: dict[str, str] = {}
    twice: set[str] = set()
    for name in names:
        place = PurePosixPath(name)
        below = str(place.relative_to(folder)) if place.is_relative_to(folder) else name
        for word in {name, below, place.name, place.stem}:
            if known.setdefault(word, name) != name:
                twice.add(word)
    return {word: name for word, name in known.items() if word not in twice or word == name}
