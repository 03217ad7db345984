"""What a process may lack: standard streams, letters of its terminal, a home, a name, a folder."""

from __future__ import annotations

import os
import pwd
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, cast

from splitlab.errors import BadInput

TYPOGRAPHY = str.maketrans({"…": "~", "—": "-", "–": "-", "×": "x", "→": ">", "•": "*"})  # noqa: RUF001
"""Signs of tables and help, and one that every terminal has; each as wide as before."""
_NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # where `getpass` looks for a user's name


def prepare() -> None:
    """Before a command runs: nothing that it or its libraries do may fail for want of these."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, ValueError, OSError):  # one that is no text file of Python's
            cast("IO[str]", stream).reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
    _name_user()
    if not _has_home() and "XDG_CACHE_HOME" not in os.environ:
        place = _own_temporary()
        if place is not None:
            os.environ["XDG_CACHE_HOME"] = str(place)  # torch, timm and lpips look there
            os.environ.setdefault("MPLCONFIGDIR", str(place / "matplotlib"))


def encodable(text: str, encoding: str | None) -> str:
    """The text as a stream of that encoding can carry it; other characters as in `\\xfc`."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        simple = text.translate(TYPOGRAPHY)
        return simple.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")
    except LookupError:
        pass
    return text


def cache_home() -> Path | None:
    """`$XDG_CACHE_HOME`, `~/.cache`, a folder of this user's among the temporary ones, or None."""
    given = os.environ.get("XDG_CACHE_HOME")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache"
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return _own_temporary()


def expanded(path: str) -> Path:
    """The path, with `~` and `~NAME` replaced where such a user has a home.

    Raises:
        BadInput: there is none.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise BadInput(f"{path}: no home is known here; give the path in full") from error


def drop_output() -> None:
    """Nobody reads standard output any more: what is still written there goes nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        _fill(sys.stdout.fileno(), os.O_WRONLY)


def _open_streams() -> None:
    """A closed descriptor would be the next file that is opened, and get what is printed."""
    streams = (("stdin", os.O_RDONLY, "r"), ("stdout", os.O_WRONLY, "w"), ("stderr", 1, "w"))
    for number, (name, flags, mode) in enumerate(streams):
        try:
            os.fstat(number)
        except OSError:
            _fill(number, flags)
        if getattr(sys, name) is None:
            stream = os.fdopen(number, mode, encoding="utf-8", closefd=False)
            setattr(sys, name, stream)


def _fill(number: int, flags: int) -> None:
    opened = os.open(os.devnull, flags)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)
    else:
        os.set_inheritable(number, True)


def _name_user() -> None:
    """torch asks for the user's name when it is imported."""
    if any(os.environ.get(name) for name in _NAMES):
        return
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ["USER"] = f"uid-{os.getuid()}"


def _has_home() -> bool:
    """Whether caches can be kept there."""
    try:
        home = Path.home()
        place = home / ".cache"
        return os.access(place if place.is_dir() else home, os.W_OK | os.X_OK)
    except (RuntimeError, OSError):
        return False


def _own_temporary() -> Path | None:
    """A folder of this user's alone among the temporary ones; None where there are none."""
    try:
        place = Path(tempfile.gettempdir()) / f"splitlab-{os.getuid()}"
        with suppress(FileExistsError):
            place.mkdir(0o700)
        seen = place.lstat()
        if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not seen.st_mode & 0o022:
            return place
        return Path(tempfile.mkdtemp(prefix="splitlab-"))
    except OSError:
        return None
