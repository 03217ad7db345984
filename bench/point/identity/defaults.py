"""Defaults of before: what a record did not say was at the default of the day it was written.

A record of today says every setting. Older ones of sweeps say of an attack what was given, and one
of any age lacks the fields that came after it. Who changes a default, or gives a new field another
default than what was done without it, enters here what it was, so that no record is taken for a
measurement with today's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from adversary.parts.budget import FULL_SIZE
from adversary.registry import attack_of_file
from splitlab.named import named_fields, stacked, value_of, written

Defaults = Mapping[str, Mapping[str, Any]]
"""What it belongs to -> field -> its default then. "attack NAME", "defense NAME", "victim" (the
recipe), "synthesis", "point" (all others)."""


class Small(NamedTuple):
    """A default on images of up to `FULL_SIZE`; above it was what the budget allows, as it is now
    where nothing is given.
    """

    value: Any


BEFORE: Mapping[int, Defaults] = {
    1: {
        "attack decoder": {"epochs": Small(3), "ssim": 0.0},
        "attack rmle": {
            "start": "mean",
            "steps": Small(300),
            "choose_images": Small(2),
            "choose_steps": Small(100),
        },
    }
}
"""Version of the methods (`METHOD_VERSION`) -> defaults that its records were made with, where they
are not today's. What was done with the same settings in another way, such as `rmle` with its choice
of a rate for Adam where `learning_rate` is None, another `Attack.version` tells apart."""


def filled(config: Mapping[str, Any], version: int) -> dict[str, Any]:
    """A record's config with the defaults that it was made with, wherever it says nothing.

    Args:
        config: with "attack" and "defense"; a preset among the options is taken as it is today.
    """
    was = BEFORE.get(version, {})
    if not was:
        return dict(config)
    found = {**was.get("point", {}), **config}
    attack = found["attack"]
    given = dict(found.get("attack_options") or {})
    preset = attack_of_file(attack).presets.get(given.get("preset"))
    own = _of_size(was.get(f"attack {attack}", {}), int(found.get("size") or FULL_SIZE))
    told = {*given, *(preset.fields if preset is not None else ())}
    found["attack_options"] = given | {k: v for k, v in own.items() if k not in told}
    found["defense"] = "+".join(_defense(part, was) for part in stacked(found["defense"]))
    for name in ("victim", "recipe"):
        if isinstance(found.get(name), Mapping):
            found[name] = {**was.get("victim", {}), **found[name]}
    made = found.get("synthetic")
    if isinstance(made, Mapping):
        settings = {**was.get("synthesis", {}), **made.get("settings", {})}
        found["synthetic"] = {**made, "settings": settings}
    return found


def _of_size(own: Mapping[str, Any], size: int) -> dict[str, Any]:
    """Defaults of an attack on images of `size` pixels a side."""
    return {
        name: value.value if isinstance(value, Small) else value
        for name, value in own.items()
        if size <= FULL_SIZE or not isinstance(value, Small)
    }


def _defense(part: str, was: Defaults) -> str:
    name, fields = named_fields(part)
    own = was.get(f"defense {name}", {})
    lacking = {key: value for key, value in own.items() if key not in fields}
    if not lacking:
        return part
    return written(name, {**{k: value_of(v) for k, v in fields.items()}, **lacking})
