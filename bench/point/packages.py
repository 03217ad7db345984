"""Which methods of a point are another package's, or not in their first version: part of it."""

from __future__ import annotations

from collections.abc import Mapping

from adversary.registry import attack_of
from defenses import DEFENSES
from splitlab.contracts.method import FIRST, told_of
from splitlab.entry_points import ATTACK_GROUP, MODEL_GROUP, entries
from splitlab.named import named_fields, stacked

TRAINS = ("defense ", "model ")
"""How the names begin of what has a part in a deployment."""


def packages_of(*, attack: str = "", defense: str = "none", model: str = "") -> dict[str, str]:
    """ "attack ridge" -> "own-attack 0.1.0, code 3f9c0a1b2c4d" for each of another package, and
    "metric psnr" -> "version 2" for each that says so; {} for the lab's own as they first were.

    A network of another package is told by the version alone: its answers tell it apart.

    Args:
        attack: by name; its metrics are those of what it estimates.
        defense: text of the stack.
        model: text of the network, as "package.module:factory".

    Raises:
        UnknownName, BadInput: no such attack or defence, or one that cannot be loaded.
    """
    found = {}
    if attack:
        kind = attack_of(attack)
        found[f"attack {attack}"] = told_of(ATTACK_GROUP, attack, kind)
        for metric in kind.estimates.load_metrics():
            told = f"version {metric.version}" if metric.version != FIRST else ""
            found[f"metric {metric.name}"] = told
    for name in (named_fields(part)[0] for part in stacked(defense)):
        found[f"defense {name}"] = told_of(DEFENSES.group, name, DEFENSES.load(name))
    place = ":".join(model.strip().split(":")[:2])
    networks = [one for brought in entries(MODEL_GROUP).values() for one in brought]
    found |= {f"model {one.name}": one.origin for one in networks if one.place == place}
    return {name: told for name, told in found.items() if told}


def of_deployment(packages: Mapping[str, str]) -> dict[str, str]:
    """Those of a point that its deployment depends on."""
    return {name: told for name, told in packages.items() if name.startswith(TRAINS)}
