"""Names of a network's outputs, and which output each class folder stands for; from files."""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from splitlab.errors import BadInput, Corrupt, foreign

Names = tuple[str, ...]
_WNID = re.compile(r"^(n\d{8})(?:[\s_,:]+(.+))?$")
_HEADERS = {"folder", "class", "name", "label"}
MOST = 1_000_000
"""Outputs of one network."""


def read_output_names(path: Path) -> list[Names]:
    """Names of each output in the order of the outputs, the one that is shown first.

    A text file has a line an output ("tench", "n01440764", "n01440764 tench, Tinca tinca" or
    columns parted by tabs). A JSON file is a list of names, or an object of number -> name(s) as
    imagenet_class_index.json, or of name -> number.

    Raises:
        BadInput: no such file, or a name that is missing.
        Corrupt: not JSON, or JSON of another form.
    """
    text = _text(path, "--classes")
    if path.suffix.lower() == ".json":
        return [aliases(names) for names in _of_json(_json(path, text), path)]
    lines = [line.strip() for line in text.rstrip().splitlines()]
    empty = next((number for number, line in enumerate(lines, 1) if not line), None)
    if not lines or empty is not None:
        raise BadInput(
            f"--classes {path}: line {empty or 1} is empty; give a name a line, in the order of "
            "the network's outputs"
        )
    return [aliases(tuple(cell.strip() for cell in line.split("\t"))) for line in lines]


def read_label_map(path: Path) -> dict[str, str | int]:
    """Folder -> name or number of the output that it stands for.

    CSV with two columns, folder and output, with or without a header; digits are a number, from 0.
    Or a JSON object.

    Raises:
        BadInput: no such file, a line without two columns, or a folder twice.
        Corrupt: not JSON, or JSON of another form.
    """
    text = _text(path, "--label-map")
    if path.suffix.lower() == ".json":
        content = _json(path, text)
        if not isinstance(content, dict) or not all(
            isinstance(v, str | int) and not isinstance(v, bool) for v in content.values()
        ):
            raise Corrupt(path, "no JSON object of folder -> name or number", "see docs/weights.md")
        return dict(content)
    found: dict[str, str | int] = {}
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or (number == 1 and cells[0].lower() in _HEADERS):
            continue
        if len(cells) != 2 or not all(cells):
            raise BadInput(f"--label-map {path}: line {number}: wanted folder,output")
        folder, output = cells
        if folder in found:
            raise BadInput(f"--label-map {path}: line {number}: {folder!r} stands there twice")
        found[folder] = int(output) if output.isdecimal() and output.isascii() else output
    return found


def places(
    folders: Sequence[str],
    outputs: Sequence[Names],
    label_map: Mapping[str, str | int] | None = None,
) -> dict[str, int]:
    """Number of the output that each class folder stands for.

    With a map every folder has to be in it. Without, names are compared as they are, then without
    regard to case, spaces, "_" and "-", then by a WordNet id such as n01440764 in front.

    Raises:
        BadInput: a folder stands for no output, or for several; lists the nearest names.
    """
    known = _Known(outputs)
    found = {}
    for folder in folders:
        if label_map is None:
            found[folder] = known.place(folder, f"class {folder!r} of the data set")
            continue
        if folder not in label_map:
            raise BadInput(f"--label-map: class {folder!r} of the data set is not in it; add it")
        wanted = label_map[folder]
        if isinstance(wanted, str):
            found[folder] = known.place(wanted, f"--label-map: {folder!r} -> {wanted!r}")
        elif 0 <= wanted < len(outputs):
            found[folder] = wanted
        else:
            raise BadInput(
                f"--label-map: {folder!r} -> {wanted}: outputs are numbered 0 to {len(outputs) - 1}"
            )
    return found


class _Known:
    """Finds outputs by their names, the exact ones first."""

    def __init__(self, outputs: Sequence[Names]) -> None:
        self.exact: dict[str, set[int]] = {}
        self.loose: dict[str, set[int]] = {}
        for number, names in enumerate(outputs):
            for name in names:
                self.exact.setdefault(name, set()).add(number)
                self.loose.setdefault(_loose(name), set()).add(number)

    def place(self, name: str, who: str) -> int:
        wnid = _WNID.match(name)
        for found in (
            self.exact.get(name),
            self.loose.get(_loose(name)),
            self.exact.get(wnid[1]) if wnid else None,
            self.loose.get(_loose(wnid[2])) if wnid and wnid[2] else None,
        ):
            if found and len(found) == 1:
                return next(iter(found))
            if found:
                numbers = ", ".join(map(str, sorted(found)[:5]))
                raise BadInput(
                    f"{foreign(who, 200)}: outputs {numbers} have that name; say which with "
                    "--label-map FILE (lines of folder,number)"
                )
        near = difflib.get_close_matches(name, list(self.exact), n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else "none is near"
        raise BadInput(
            f"{foreign(who, 200)}: no output has that name ({foreign(hint, 200)}); say which it is "
            "with --label-map FILE (lines of folder,output)"
        )


def _loose(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()


def aliases(given: Names) -> Names:
    """What is shown for an output, then each of its names: WordNet id, synonyms between commas."""
    found = dict.fromkeys((" ".join(given), *given))
    for name in given:
        wnid = _WNID.match(name)
        words = name
        if wnid:
            found[wnid[1]] = None
            words = wnid[2] or ""
        found |= dict.fromkeys(word.strip() for word in (words, *words.split(",")) if word.strip())
    return tuple(found)


def _of_json(content: Any, path: Path) -> list[Names]:
    if isinstance(content, dict) and content:
        if all(isinstance(v, int) and not isinstance(v, bool) for v in content.values()):
            content = {str(number): name for name, number in content.items()}
        numbers = [str(number) for number in range(min(len(content), MOST))]
        if set(numbers) == set(content):
            content = [content[number] for number in numbers]
    if not isinstance(content, list) or not content:
        raise Corrupt(
            path, "no list of names, and no object of the numbers 0, 1, ... -> name", "mend it"
        )
    found = [tuple(item) if isinstance(item, list) else (item,) for item in content]
    if not all(names and all(isinstance(n, str) and n.strip() for n in names) for names in found):
        raise Corrupt(path, "holds an output that has no name", "give each a name")
    return found


def _text(path: Path, flag: str) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadInput(f"{flag} {path}: {error.strerror}; give a readable file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{flag} {path}: it is no UTF-8 text; save it as such") from error


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Corrupt(path, f"not readable as JSON ({error})", "mend it") from error
