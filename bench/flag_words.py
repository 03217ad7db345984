"""Words of flags that can be told wrong before anything is loaded: no import here takes long."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adversary.cli_options import require_number
from splitlab.errors import BadInput

_DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def device(name: str) -> str:
    """The name of a device.

    Raises:
        BadInput: it is none of those that work is done on.
    """
    if not _DEVICE.fullmatch(name):
        raise BadInput(f"--device {name}: wanted auto, cpu or cuda")
    return name


def settings(items: Sequence[str]) -> list[tuple[str, str, str]]:
    """["decoder.epochs=5"] -> [("decoder", "epochs", "5")].

    Raises:
        BadInput: not ATTACK.FIELD=VALUE, a field twice, or a value that is no number.
    """
    found: list[tuple[str, str, str]] = []
    for item in items:
        name, equals, value = item.partition("=")
        attack, dot, field = name.partition(".")
        if not (equals and dot and attack and field and value):
            raise BadInput(f"--set {item!r}: wanted ATTACK.FIELD=VALUE, e.g. decoder.epochs=5")
        require_number(item, value.strip())
        place = (attack.strip(), field.strip())
        if any(place == known[:2] for known in found):
            raise BadInput(f"--set {name.strip()} is given twice; keep one")
        found.append((*place, value.strip()))
    return found
