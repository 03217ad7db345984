"""Names that installed packages add to the lab's own, read from their metadata.

A package says in its pyproject.toml

    [project.entry-points."splitlab.attacks"]
    ridge = "own_attack.ridge:Ridge"

and nothing of it is imported before the name is used, so that a command's help can list it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from typing import NamedTuple

MODEL_GROUP = "splitlab.models"
ATTACK_GROUP = "splitlab.attacks"
DEFENSE_GROUP = "splitlab.defenses"
EXPERIMENT_GROUP = "splitlab.experiments"
GROUPS = (MODEL_GROUP, ATTACK_GROUP, DEFENSE_GROUP, EXPERIMENT_GROUP)


class Entry(NamedTuple):
    """One name of one package.

    Args:
        name: as it is typed.
        place: "package.module:attribute" where it lives, as the package wrote it.
        package, version: who brings it.
    """

    name: str
    place: str
    package: str
    version: str

    @property
    def origin(self) -> str:
        """Such as "own-attack 0.1.0", for errors and records."""
        return f"{self.package} {self.version}"


def entries(group: str) -> Mapping[str, tuple[Entry, ...]]:
    """Name -> those that bring it, in order of their packages; more than one is a quarrel."""
    return _found(tuple(sys.path)).get(group, {})


def also(group: str) -> str:
    """For a help text behind the lab's own names: "" or " Installed beside them: a, b."."""
    names = ", ".join(sorted(entries(group)))
    return f" Installed beside them: {names}." if names else ""


@lru_cache(maxsize=8)
def _found(path: tuple[str, ...]) -> Mapping[str, Mapping[str, tuple[Entry, ...]]]:
    """Group -> name -> entries, of what is installed in these folders."""
    read: dict[str, dict[str, tuple[Entry, ...]]] = {group: {} for group in GROUPS}
    seen: set[str] = set()
    for package in metadata.distributions(path=list(path)):
        try:
            points = [one for one in package.entry_points if one.group in GROUPS]
            if not points:
                continue
            name, version = str(package.metadata["Name"]), str(package.version)
        except Exception:  # metadata that cannot be read brings nothing and stops nobody
            continue
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:  # the first on the path is the one that Python imports
            continue
        seen.add(key)
        for one in points:
            place = re.sub(r"\s*\[.*\]\s*$", "", one.value).replace(" ", "")
            entry = Entry(one.name, place, name, version)
            read[one.group][one.name] = (*read[one.group].get(one.name, ()), entry)
    return {
        group: {name: tuple(sorted(found)) for name, found in sorted(names.items())}
        for group, names in read.items()
    }
