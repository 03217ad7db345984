"""Settings as lines of a table: words for values, a group for each nested part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Lines = list[tuple[str, str]]


def setting_groups(
    settings: Mapping[str, Any] | Iterable[tuple[str, Any]],
) -> list[tuple[str, Lines]]:
    """[("", lines of plain values), (name of a nested part, its lines), ...]; nothing is left out.

    A part within a part is named with it: "victim, schedule".
    """
    plain: Lines = []
    nested: list[tuple[str, Lines]] = []
    for name, value in dict(settings).items():
        if isinstance(value, Mapping) and value:
            for inner, lines in setting_groups(value):
                nested.append((f"{spelled(name)}, {inner}" if inner else spelled(name), lines))
        else:
            plain.append((spelled(name), worded(value)))
    return [("", plain), *nested] if plain else nested


def worded(value: Any) -> str:
    """A plain value or a list of them in words."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:zg}"
    if isinstance(value, Mapping):
        return "; ".join(f"{spelled(k)} {worded(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(worded, value)) or "none"
    return str(value) or "none"


def spelled(name: str) -> str:
    """`weight_decay` as words."""
    return name.replace("_", " ")
