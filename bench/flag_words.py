"""Words of flags that can be told wrong before anything is loaded: no import here takes long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from adversary.cli_options import require_number
from splitlab.console import guarded
from splitlab.errors import BadInput
from splitlab.named import named_fields


def normalisation(mean: str | None, std: str | None) -> dict[str, tuple[float, ...]]:
    """("0.5", "0.2,0.2,0.3") -> {"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.3)}; {} for none.

    Raises:
        BadInput: one without the other, other than one number or three, or a `std` of 0 or less.
    """
    if mean is None and std is None:
        return {}
    if mean is None or std is None:
        given, other = ("--mean", "--std") if std is None else ("--std", "--mean")
        raise BadInput(f"{given} without {other}: an image is normalised by both; give both")
    found = {"mean": _three("--mean", mean), "std": _three("--std", std)}
    if min(found["std"]) <= 0:
        raise BadInput(f"--std {std}: the image is divided by it; wanted numbers above 0")
    return found


def _three(flag: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise BadInput(f"{flag} {text!r}: wanted R,G,B such as 0.485,0.456,0.406, or one number")
    if max(map(abs, numbers)) > 10:
        raise BadInput(
            f"{flag} {text!r}: pixels are in [0, 1] here and not in [0, 255]; divide it by 255"
        )
    return numbers * (3 // len(numbers))


def chosen_attacks(
    attacks: Sequence[str], settings: Sequence[str] = ()
) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    """(["rmle:tv=1", "dci"], ["dci.data=own"]) -> (("rmle", "dci"), {"rmle": {"tv": "1"}, ...}).

    Args:
        attacks: names with settings, as `splitlab.named` has it; one that stands there again adds
            its settings.
        settings: ATTACK.FIELD=VALUE, the older spelling.

    Returns:
        the names, each once, and the settings of those that have some, as they were typed.

    Raises:
        BadInput: a text that is none, a field twice, or a value that is no number.
    """
    found: dict[str, dict[str, str]] = {}
    for text in attacks:
        name, fields = named_fields(text)
        for field, value in fields.items():
            require_number(f"--attack {text}", value)
            if field in found.get(name, {}):
                raise BadInput(f"--attack {text}: {name} has its {field} already; keep one")
        found.setdefault(name, {}).update(fields)
    names = tuple(found)
    for name, field, value in _settings(settings):
        if field in found.setdefault(name, {}):
            raise BadInput(f"--set {name}.{field} is given twice; keep one")
        found[name][field] = value
    return names, {name: fields for name, fields in found.items() if fields}


def _settings(items: Sequence[str]) -> list[tuple[str, str, str]]:
    """["decoder.epochs=5"] -> [("decoder", "epochs", "5")].

    Raises:
        BadInput: not ATTACK.FIELD=VALUE, or a value that is no number.
    """
    found: list[tuple[str, str, str]] = []
    for item in items:
        name, equals, value = item.partition("=")
        attack, dot, field = name.partition(".")
        if not (equals and dot and attack and field and value):
            raise BadInput(f"--set {item!r}: wanted ATTACK.FIELD=VALUE, e.g. decoder.epochs=5")
        require_number(f"--set {item}", value.strip())
        found.append((attack.strip(), field.strip(), value.strip()))
    return found


@guarded
def folder(path: Path | None) -> Path | None:
    """
    Raises:
        BadInput, StorageFull: nothing can be written there.
    """
    if path is not None:
        from splitlab.storage import require_writable

        require_writable(path)
    return path
