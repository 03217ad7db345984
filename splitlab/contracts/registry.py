"""A registry is a dict literal of name -> "module:Class", joined with installed packages' names.

All of it is loaded on use. A package's name is in its entry points (`splitlab.entry_points`).
"""

from __future__ import annotations

import importlib
import inspect
import operator
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from splitlab.contracts import own_code
from splitlab.entry_points import Entry, entries
from splitlab.errors import BadInput, NotImported, UnknownName


def load_attribute(place: str) -> Any:
    """The object behind "package.module:attribute"; its module is imported."""
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


class Registry(Mapping[str, str]):
    """Names and where they live; nothing is imported until `load`.

    Args:
        kind: what the entries are, in the words of an error message ("attack").
        entries: name -> "package.module:attribute" of the lab's own.
        group: of the entry points that add to them, "" for none.
        wanted: "package.module:Class" that a class of another package has to be a subclass of.
        crosses: whether a file may name an entry to a process that has to be told first: loading
            one that was typed permits its module here and in the processes that are started.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, str],
        group: str = "",
        wanted: str = "",
        crosses: bool = False,
    ) -> None:
        self.kind, self.group = kind, group
        self._wanted, self._crosses = wanted, crosses
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> str:
        entry = self.foreign(name)
        if entry is not None:
            return entry.place
        if name not in self._entries:
            raise UnknownName(self.kind, name, self)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._entries
        yield from (name for name in self._installed if name not in self._entries)

    def __len__(self) -> int:
        return len({*self._entries, *self._installed})

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._installed

    @property
    def _installed(self) -> dict[str, tuple[Entry, ...]]:
        return dict(entries(self.group)) if self.group else {}

    @property
    def ours(self) -> tuple[str, ...]:
        """The lab's own names."""
        return tuple(self._entries)

    def foreign(self, name: str) -> Entry | None:
        """Whose the name is, if it is that of another package; None for one of the lab's own.

        Raises:
            BadInput: two bring it, the lab among them or not: nobody shadows anybody.
        """
        found = self._installed.get(name, ())
        own = ["splitlab itself"] if name in self._entries else []
        who = [*own, *(entry.origin for entry in found)]
        if len(who) > 1:
            raise BadInput(
                f"{self.kind} {name!r} is brought by {' and by '.join(who)}; uninstall "
                f"{found[-1].package}, or rename its entry point in [{self.group}]"
            )
        return found[0] if found else None

    def load(self, name: str) -> Any:
        """The object behind `name`, which somebody has typed.

        Raises:
            UnknownName: not registered; the message lists the nearest names.
            BadInput: it is another package's, and that fails or is no such thing; in one line.
        """
        entry = self.foreign(name)
        return load_attribute(self[name]) if entry is None else self._loaded(entry)

    def require_permitted(self, name: str) -> None:
        """Ask before a name is loaded that stands in a file.

        Raises:
            NotImported: it is another package's, and the operator has not named its module.
        """
        entry = self.foreign(name)
        if entry is None:
            return
        module = entry.place.partition(":")[0]
        if module not in own_code.permitted():
            raise NotImported(
                f"{name} ({entry.place}) of {entry.origin}",
                module,
                own_code.permitted(),
                what=self.kind,
            )

    def load_of_file(self, name: str) -> Any:
        """The object behind a name that stands in a file, such as a record.

        Raises:
            NotImported: it is another package's, and its module is neither named by the operator
                nor loaded, as it is where a command has used it already.
            UnknownName, BadInput: as `load`.
        """
        entry = self.foreign(name)
        if entry is not None and entry.place.partition(":")[0] not in sys.modules:
            self.require_permitted(name)
        return self.load(name)

    def _loaded(self, entry: Entry) -> Any:
        told = f"{self.kind} {entry.name!r} of {entry.origin} ({entry.place})"
        module, colon, attribute = entry.place.partition(":")
        if not colon:
            raise BadInput(f"{told}: wanted package.module:attribute; mend its entry point")
        try:
            if self._crosses:
                own_code.permit(module)
            found = operator.attrgetter(attribute)(own_code.imported(module))
        except BadInput as error:
            raise BadInput(f"{told}: {error}") from error
        except AttributeError as error:
            raise BadInput(f"{told}: {module} has no {attribute!r}; mend it") from error
        if wrong := self._wrong(entry, found):
            raise BadInput(f"{told}: it {wrong}; mend it")
        return found

    def _wrong(self, entry: Entry, found: Any) -> str:
        """What is wrong with what another package brings; "" for nothing."""
        if not callable(found):
            return f"is {found!r:.80}, and cannot be called"
        if not self._wanted:
            return ""
        base = load_attribute(self._wanted)
        if not (isinstance(found, type) and issubclass(found, base)):
            return f"is no subclass of {self._wanted.replace(':', '.')}"
        if left := sorted(getattr(found, "__abstractmethods__", ())):
            return f"does not define {', '.join(left)}"
        lacking = [name for name in inspect.get_annotations(base) if not hasattr(found, name)]
        if lacking:
            return f"does not say {', '.join(lacking)}"
        name = getattr(found, "name", entry.name)
        return "" if name == entry.name else f"calls itself {name!r}"
