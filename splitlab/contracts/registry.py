"""A registry is a dict literal of name -> "module:Class", loaded on use."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from splitlab.errors import UnknownName


def load_attribute(place: str) -> Any:
    """The object behind "package.module:attribute"; its module is imported."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Registry(Mapping[str, str]):
    """Names and where they live; nothing is imported until `load`.

    Args:
        kind: what the entries are, in the words of an error message ("attack").
        entries: name -> "package.module:attribute".
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> str:
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def load(self, name: str) -> Any:
        """The object behind `name`.

        Raises:
            UnknownName: not registered; the message lists the nearest names.
        """
        return load_attribute(self[name])
