"""Every error a user can meet: what was given, what was wanted, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class SplitLabError(Exception):
    """Base of all errors that are shown to a user without a traceback. Exit code 2."""

    exit_code = 2


class BadInput(SplitLabError):
    """A value outside what is accepted; the message names flag or field, value and remedy."""


def plain(message: str) -> str:
    """pydantic's message as it was raised: our own come back from it as "Value error, ..."."""
    return message.removeprefix("Value error, ")


class UnknownName(SplitLabError):
    """A name that is in no registry; lists the nearest known ones.

    Args:
        kind: what was named, e.g. "attack".
        given: the name as typed.
        known: every name that would have been accepted.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(given, names, n=5, cutoff=0.4) or names[:8]
        shown = ", ".join(near) if near else "none are registered"
        super().__init__(f"unknown {kind} {given!r}; nearest: {shown}")
        self.kind, self.given, self.near = kind, given, near


class MissingKnowledge(SplitLabError):
    """An attack asked for a field of the threat model that was not granted."""

    def __init__(self, field: str, who: str = "the attack") -> None:
        super().__init__(
            f"{who} needs {field!r}, which the threat model does not grant; "
            f"grant it (`bench grant ... --{field.replace('_', '-')}`) or choose another attack"
        )
        self.field = field


class Corrupt(SplitLabError):
    """A file on disk that is damaged, half-written or of another format."""

    def __init__(self, path: Path | str, why: str, remedy: str = "write it again") -> None:
        super().__init__(f"{path}: {why}; {remedy}")
        self.path = Path(path)


class Mismatch(SplitLabError):
    """Two things that do not belong together, e.g. halves of different deployments."""


class NotCuttable(SplitLabError):
    """A place in a network where the two sides cannot be parted by one tensor."""


class ServerUnavailable(SplitLabError):
    """The peer does not answer; names the host and what to do. Exit code 3."""

    exit_code = 3


class ServerRefused(SplitLabError):
    """The peer answered with an error status; names host, status and its words. Exit code 4."""

    exit_code = 4


class StorageFull(SplitLabError):
    """A record or capture could not be written; nothing already written is damaged."""


class Unavailable(SplitLabError):
    """Something optional that is not on this machine; a table shows the reason, never a number."""


class TooLarge(BadInput):
    """More than was declared: more rows or bytes than one micro-batch may have."""
