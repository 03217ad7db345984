"""Options that several commands share, and attacks with their settings as they are typed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from splitlab import entry_points
from splitlab.cli_options import Device as Device
from splitlab.cli_options import DryRun as DryRun
from splitlab.errors import BadInput
from splitlab.help_sections import RUN
from splitlab.named import named_fields, typed

ATTACK_HELP = (
    "decoder, rmle, drag, dci, psim, gmi, ddream, di, shadow, fora, aligned-shadow, mean-image, "
    "loss or threshold." + entry_points.also(entry_points.ATTACK_GROUP)
)
"""Written out, so that no command has to load the attacks for its help."""

PublicSeed = Annotated[int, typer.Option(min=0, help="Public seed.", rich_help_panel=RUN)]


def chosen(attack: str, settings: Sequence[str] = ()) -> tuple[str, dict[str, Any]]:
    """("decoder:epochs=5", ["width=8"]) -> ("decoder", {"epochs": "5", "width": "8"}).

    Args:
        attack: a name with settings, as `splitlab.named` has it.
        settings: FIELD=VALUE, the older spelling.

    Raises:
        BadInput: no field or no value, a field given twice, or a number that is none.
    """
    name, fields = named_fields(attack)
    found = read_fields(f"--attack {attack}", fields)
    for field, value in read_options(settings).items():
        if field in found:
            raise BadInput(f"--set {field}: --attack {attack} sets it too; keep one")
        found[field] = value
    return name, found


def with_preset(preset: str | None, settings: Sequence[str] = ()) -> dict[str, Any]:
    """("dci:steps=9", ["tv=0"]) -> {"preset": "dci", "steps": "9", "tv": "0"}, of a synthesis.

    Args:
        preset: a name with settings, or None for the network's own.
        settings: FIELD=VALUE, the older spelling.

    Raises:
        BadInput: as `read_options`, or what both set.
    """
    older = read_options(settings)
    if preset is None:
        return older
    name, fields = named_fields(preset)
    found = {"preset": name, **read_fields(f"--preset {preset}", fields)}
    if twice := sorted(found.keys() & older.keys()):
        raise BadInput(f"--set {twice[0]}: --preset {preset} sets it too; keep one")
    return found | older


def read_fields(given: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Settings as they were typed to what an attack is configured with; the word "none" is None.

    Args:
        given: all that was typed, with its flag, for the error.

    Raises:
        BadInput: a number that is none.
    """
    for value in fields.values():
        require_number(given, value)
    return {key: None if text.lower() == "none" else typed(text) for key, text in fields.items()}


def read_options(items: Sequence[str]) -> dict[str, Any]:
    """FIELD=VALUE texts to fields; the word "none" is None.

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
        found |= read_fields(f"--set {item}", {field: value})
    return found


def require_number(given: str, value: str) -> None:
    """
    Args:
        given: all that was typed, with its flag, for the message.
        value: what stands behind an "=" of it.

    Raises:
        BadInput: NaN, or without end; both would pass some ranges, and none is a setting.
    """
    try:
        finite = math.isfinite(float(value))
    except ValueError:
        return  # a word, or a list
    if not finite:
        raise BadInput(f"{given}: {value} is no finite number; give one")
