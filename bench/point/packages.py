"""Which methods of a point are another package's, and of which version: part of what it is."""

from __future__ import annotations

from adversary.registry import ATTACKS
from defenses import DEFENSES
from splitlab.contracts import Registry
from splitlab.entry_points import MODEL_GROUP, entries
from splitlab.named import named_fields, stacked


def packages_of(*, attack: str = "", defense: str = "none", model: str = "") -> dict[str, str]:
    """ "attack ridge" -> "own-attack 0.1.0" for each of another package; {} for the lab's own.

    Args:
        attack: by name.
        defense: text of the stack.
        model: text of the network, as "package.module:factory".
    """
    named: list[tuple[str, Registry, str]] = [("attack", ATTACKS, attack)]
    named += [("defense", DEFENSES, named_fields(part)[0]) for part in stacked(defense)]
    place = ":".join(model.strip().split(":")[:2])
    found = {
        f"{what} {name}": entry.origin
        for what, registry, name in named
        if (entry := registry.foreign(name)) is not None
    }
    networks = [one for brought in entries(MODEL_GROUP).values() for one in brought]
    return found | {f"model {one.name}": one.origin for one in networks if one.place == place}
