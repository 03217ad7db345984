"""Which method it is beyond its name: the version that it declares, and a package's own code."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from splitlab.entry_points import entries
from splitlab.storage import sha256

FIRST = 1
"""The version of a method that declares none; nothing is told of it."""


def told_of(group: str, name: str, method: Any) -> str:
    """Such as "own-attack 0.1.0, code 3f9c0a1b2c4d, version 2"; "" for the lab's first version.

    Args:
        group: of the entry points that may bring it.
        method: what is registered under `name`, loaded; `method.version` is what it declares.
    """
    version = getattr(method, "version", FIRST)
    parts = []
    for entry in entries(group).get(name, ())[:1]:  # of two, neither can be loaded
        module = sys.modules.get(entry.place.partition(":")[0])
        parts = [entry.origin] + ([f"code {code_of(module)}"] if module is not None else [])
    return ", ".join([*parts, *([f"version {version}"] if version != FIRST else [])])


@lru_cache(maxsize=64)
def code_of(module: ModuleType) -> str:
    """12 hex digits of the source of the package that a module is of, as it lies there now.

    All its files count, as a method may live in several. Of a module without a package it is its
    own file. What its package's version does not say, an edited line does.
    """
    names = module.__name__.split(".")
    for end in range(1, len(names) + 1):  # a namespace package has no file
        home = sys.modules.get(".".join(names[:end]), module)
        if (file := getattr(home, "__file__", None)) is None:
            continue
        one = Path(file)
        root = one.parent
        files = sorted(root.rglob("*.py")) if hasattr(home, "__path__") else [one]
        told = [part for path in files for part in _told(path, root)]
        return sha256(*told)[:12]
    return "unknown"


def _told(path: Path, root: Path) -> tuple[bytes, bytes]:
    return path.relative_to(root).as_posix().encode(), sha256(path.read_bytes()).encode()
