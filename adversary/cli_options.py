"""FIELD=VALUE texts of a command line."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from splitlab import entry_points
from splitlab.errors import BadInput

ATTACK_HELP = (
    "decoder, rmle, dci, psim, gmi, ddream, di, shadow, aligned-shadow or mean-image."
    + entry_points.also(entry_points.ATTACKS)
)
"""Written out, so that no command has to load the attacks for its help."""

DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only say points, time and memory; nothing is written."),
]


def read_options(items: list[str]) -> dict[str, Any]:
    """FIELD=VALUE texts to fields; the value "none" is None.

    Raises:
        BadInput: no field or no value, or a field given twice.
    """
    found: dict[str, Any] = {}
    for item in items:
        field, equals, value = (part.strip() for part in item.partition("="))
        if not (field and equals and value):
            raise BadInput(f"--set {item!r}: wanted FIELD=VALUE, e.g. epochs=5")
        require_number(item, value)
        if field in found:
            raise BadInput(f"--set {field} is given twice; keep one")
        found[field] = None if value.lower() == "none" else value
    return found


def require_number(item: str, value: str) -> None:
    """
    Args:
        item: the whole text, for the message.
        value: what stands behind its "=".

    Raises:
        BadInput: NaN, or without end; both would pass some ranges, and none is a setting.
    """
    try:
        finite = math.isfinite(float(value))
    except ValueError:
        return  # a word, or a list
    if not finite:
        raise BadInput(f"--set {item}: {value} is no finite number; give one")
