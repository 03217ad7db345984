"""Every error a user can meet: what was given, what was wanted, what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

FOREIGN_AT_MOST = 500
"""Characters that are shown of what a peer wrote."""
# C0, DEL and C1 steer a terminal; direction marks and separators reorder or break a line; a
# surrogate, as a file's name may hold, cannot be printed at all.
_UNSEEN = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_TEXT = re.compile(f"[\x00-\x08\x0b-\x1f{_UNSEEN}]")
_IN_WORDS = re.compile(f"[\x00-\x1f{_UNSEEN}]")


_WANTED = {
    r"^Input should be greater than or equal to ": "at least ",
    r"^Input should be less than or equal to ": "at most ",
    r"^Input should be greater than ": "more than ",
    r"^Input should be a valid integer.*": "a whole number",
    r"^Input should be a valid number.*": "a number",
    r"^Input should be ": "",
}
"""What pydantic says -> how the lab says it; the first that fits."""


class SplitLabError(Exception):
    """Base of all errors that are shown to a user without a traceback. Exit code 2."""

    exit_code = 2


class BadInput(SplitLabError):
    """A value outside what is accepted; the message names flag or field, value and remedy."""


def plain(message: str) -> str:
    """pydantic's message in words of the lab: "Input should be less than or equal to 1" is told as
    "wanted at most 1". Our own messages come back from it as "Value error, ...".
    """
    message = message.removeprefix("Value error, ")
    for theirs, ours in _WANTED.items():
        message = re.sub(theirs, f"wanted {ours}", message)
    return message


def visible(text: str) -> str:
    """The text with every character that would steer a terminal written out, as in `\\x1b`.

    Newlines and tabs stay: our own messages have some.
    """
    return _IN_TEXT.sub(_written_out, text)


def foreign(words: str, most: int = FOREIGN_AT_MOST) -> str:
    """What a peer wrote, fit to stand inside a message of ours: one line of `most` characters, and
    `...` where there were more; newlines and tabs are written out too, as in `\\x0a`.
    """
    line = _IN_WORDS.sub(_written_out, words[: most + 1])
    return line if len(line) <= most else f"{line[:most]}..."


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class UnknownName(SplitLabError):
    """A name that is in no registry; lists the nearest known ones.

    Args:
        kind: what was named, e.g. "attack".
        given: the name as typed.
        known: every name that would have been accepted.
    """

    def __init__(self, kind: str, given: str, known: Iterable[str]) -> None:
        names = sorted(known)
        plain = {name.lower(): name for name in reversed(names)}  # RESNET18 is resnet18
        close = difflib.get_close_matches(given.lower(), list(plain), n=5, cutoff=0.4)
        near = [plain[name] for name in close] or names[:8]
        shown = f"nearest: {', '.join(near)}" if near else "there is none at all"
        super().__init__(f"unknown {kind} {given!r}; {shown}")
        self.kind, self.given, self.near = kind, given, near


_GRANT_FLAGS = {
    **{name: f"--{name}" for name in ("head", "bodies", "tail", "defense", "selector", "P")},
    **{name: f"--{name}" for name in ("capture", "aux", "observe")},
    "protectors": "--noise",
}
"""Field of a threat model -> flag of `bench grant`; the others have none."""


class MissingKnowledge(SplitLabError):
    """An attack asked for a field of the threat model that was not granted."""

    def __init__(self, field: str, who: str = "the attack") -> None:
        remedy = "a sweep grants what the attack's `asks` names, ThreatModel(...) whatever it holds"
        if flag := _GRANT_FLAGS.get(field):
            remedy = f"grant it (`bench grant ... {flag}`)"
        super().__init__(
            f"{who} needs {field!r}, which the threat model does not grant; {remedy}; or choose "
            "another attack"
        )
        self.field = field


class NotImported(SplitLabError):
    """A file names code of somebody's own, which this process was not told to import.

    Args:
        name: "package.module:factory", as the file has it.
        module: what would have to be imported.
        given: modules that were named.
        what: kind of thing that it is.
    """

    def __init__(
        self, name: str, module: str, given: Iterable[str] = (), what: str = "network"
    ) -> None:
        shown = ", ".join(given)
        told = f" (given: {shown})" if shown else ""
        super().__init__(
            f"the {what} is {foreign(name, 200)}, code that is not SplitLab's; nothing is "
            f"imported because a file says so{told}: if you trust it, add --import "
            f"{foreign(module, 120)}"
        )
        self.name, self.module = name, module


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
