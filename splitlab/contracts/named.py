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
    fields: dict[str, str] = {}
    for item in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = item.partition("=")
        if not equals or not value.strip():
            raise BadInput(f"{item!r} in {text.strip()!r}: wanted field=value")
        if key.strip() in fields:
            raise BadInput(f"{key.strip()!r} is given twice in {text.strip()!r}; keep one")
        fields[key.strip()] = value.strip()
    return name.strip(), fields


def value_of(text: str) -> Any:
    """A Python literal (numbers, booleans, lists), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
