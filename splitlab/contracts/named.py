"""Text such as "gaussian:level=0.1,draw=fixed": a name, and fields that shall not be default."""

from __future__ import annotations

import ast
from typing import Any

from splitlab.errors import BadInput


def named_fields(text: str) -> tuple[str, dict[str, str]]:
    """ "ensembler:N=4,P=2" -> ("ensembler", {"N": "4", "P": "2"}).

    Raises:
        BadInput: no field=value, or a field twice.
    """
    name, _, rest = text.strip().partition(":")
    return name.strip(), fields_in(rest, text)


def fields_in(rest: str, text: str) -> dict[str, str]:
    """ "N=4,widths=[8, 16]" -> {"N": "4", "widths": "[8, 16]"}; brackets keep their commas.

    Args:
        text: all that was typed, for the error.

    Raises:
        BadInput: no field=value, or a field twice.
    """
    fields: dict[str, str] = {}
    for item in filter(None, (piece.strip() for piece in _at_commas(rest))):
        key, equals, value = item.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise BadInput(f"{item!r} in {text.strip()!r}: wanted field=value")
        if key.strip() in fields:
            raise BadInput(f"{key.strip()!r} is given twice in {text.strip()!r}; keep one")
        fields[key.strip()] = value.strip()
    return fields


def _at_commas(text: str) -> list[str]:
    """Parted at the commas that stand in no bracket."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def value_of(text: str) -> Any:
    """A Python literal (numbers, booleans, lists), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
