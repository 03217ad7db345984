"""FIELD=VALUE texts of a command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from splitlab.errors import BadInput

ATTACK_HELP = "decoder, rmle, dci, psim, gmi, ddream, di, shadow, aligned-shadow or mean-image."
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
        if field in found:
            raise BadInput(f"--set {field} is given twice; keep one")
        found[field] = None if value.lower() == "none" else value
    return found
