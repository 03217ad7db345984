"""A table that names the class of each image: `labels.csv`, or `val_annotations.txt`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from splitlab.data.folders.listing import ANNOTATIONS, plain_name
from splitlab.errors import BadInput

FILE = (
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_name",
    "image_id",
    "image_path",
    "img",
    "path",
    "id",
)
LABEL = (
    "label",
    "class",
    "class_name",
    "classname",
    "category",
    "labels",
    "target",
    "species",
    "breed",
    "label_name",
    "category_name",
    "class_id",
    "classid",
    "label_id",
    "category_id",
    "diagnosis",
    "dx",
)
MISSING = frozenset(
    [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)
"""What pandas writes or reads for no value, as it spells them; of NaN any spelling."""
SIDE = ("split", "subset", "partition", "set")

_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class Labels:
    """What one table says of the images.

    Args:
        table: its name below the root.
        of: image name -> class.
        side: image name -> what its column `split` holds, where there is one.
        absent: rows whose image is not there.
        missing: images whose rows have no label -> what stands there instead, "" or "nan".
        torn: images whose rows name different classes, or different sides; they are in neither.
        longer: first cells of rows that have more cells than the header has; they are not read.
        columns: as its header has them, or their numbers where it has none.
    """

    table: str
    of: dict[str, str]
    side: dict[str, str] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    torn: dict[str, tuple[str, str]] = field(default_factory=dict)
    longer: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


def labels_of(
    names: Iterable[str], tables: Mapping[str, str], column: str | None = None
) -> Labels | None:
    """The labels of `names` from the first table that has some: `labels.csv` before others.

    Args:
        names: of images below the root.
        tables: name -> text of those tables that may speak of them.
        column: which one holds the class, where it has none of the usual names.

    Raises:
        BadInput: `column` is in no table, or most images have two classes.
    """
    wanted = list(names)
    order = sorted(
        tables, key=lambda t: (PurePosixPath(t).stem.lower() != "labels", t.count("/"), t)
    )
    seen: list[str] = []
    for table in order:
        header, rows = _rows(table, tables[table], _known(wanted, table))
        seen += header
        found = _read(table, header, rows, wanted, column)
        if found is None or not (found.of or found.torn):
            continue
        if len(found.torn) > len(found.of):
            image, (one, two) = next(iter(found.torn.items()))
            raise BadInput(
                f"{table}: {len(found.torn)} of {len(found.torn) + len(found.of)} images have rows "
                f"that differ ({image}: {one}, {two}); give one class an image"
            )
        return found
    if column is not None:
        told = ", ".join(dict.fromkeys(seen)) or "there is no CSV"
        raise BadInput(f"?label={column}: no CSV has such a column of images; columns: {told}")
    return None


def columns_of(table: str, text: str, names: Iterable[str]) -> list[str]:
    """A table's columns; their numbers where its first line names an image and no columns."""
    return _rows(table, text, _known(list(names), table))[0]


def _rows(table: str, text: str, known: Mapping[str, str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows; commas, semicolons or tabs, whichever the first line has most of."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=_QUOTED.sub("", first).count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error:
        return [], []
    if PurePosixPath(table).name == ANNOTATIONS:
        return ["file", "label", "x0", "y0", "x1", "y1"], rows
    if rows and any(_plain(cell) in known for cell in rows[0]):
        return [str(number) for number in range(1, len(rows[0]) + 1)], rows
    return [_column(word) for word in rows[0]] if rows else [], rows[1:]


def _column(word: str) -> str:
    return "_".join(word.strip().lower().replace("-", " ").split())


def _plain(cell: str) -> str:
    return plain_name(cell.strip().replace("\\", "/").removeprefix("./"))


def _read(
    table: str, header: list[str], rows: list[list[str]], names: list[str], column: str | None
) -> Labels | None:
    known = _known(names, table)
    usual = LABEL if column is None else (_column(column),)
    label = next((header.index(word) for word in usual if word in header), None)
    file = _file_column(header, rows, known, label)
    if header == ["1", "2"] and column is None and file is not None:
        label = 1 - file  # no header: the other of two
    side = next((header.index(word) for word in SIDE if word in header), None)
    if file is None or label is None or file == label:
        return None
    found = Labels(table, {}, columns=header)
    for row in rows:
        if len(row) <= max(file, label):
            continue
        if any(cell.strip() for cell in row[len(header) :]):  # a comma in a cell without quotes
            found.longer.append(row[0].strip())
            continue
        image = known.get(_plain(row[file]))
        if image is None:
            found.absent.append(row[file].strip())
            continue
        name = plain_name(row[label].strip())
        if _is_missing(name):
            found.missing.setdefault(image, name)
            continue
        if found.of.setdefault(image, name) != name:
            found.torn.setdefault(image, (found.of[image], name))
        if side is not None and len(row) > side:
            word = row[side].strip()
            if found.side.setdefault(image, word) != word:
                found.torn.setdefault(image, (found.side[image], word))
    for image in {*found.of} & {*found.missing}:  # another of its rows has one
        del found.missing[image]
    for image in found.torn:
        del found.of[image]
        found.side.pop(image, None)
    return found


def _is_missing(label: str) -> bool:
    return not label or label in MISSING or label.lower().lstrip("-") == "nan"


def _file_column(
    header: list[str], rows: list[list[str]], known: Mapping[str, str], label: int | None
) -> int | None:
    """By its name, where it names an image at all; else the one that names the most images."""
    named = {
        number: len(
            {row[number] for row in rows if len(row) > number and _plain(row[number]) in known}
        )
        for number in range(len(header))
        if number != label
    }
    usual = [header.index(word) for word in FILE if word in header and header.index(word) != label]
    fitting = next((number for number in usual if named[number]), None)
    if fitting is not None:
        return fitting
    most = max(named, key=lambda number: named[number], default=None)
    return most if most is not None and named[most] else (usual[0] if usual else None)


def _known(names: list[str], table: str) -> dict[str, str]:
    return _by_name(names, PurePosixPath(table).parent)


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
