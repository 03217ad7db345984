"""A bearer token: a shared secret that a client shows with every call, and a server asks for."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from splitlab.errors import BadInput

HEADER = "authorization"
SHORTEST = 16


def read_token(path: Path, flag: str = "--token-file") -> str:
    """The file's one line.

    Raises:
        BadInput: no such file, one that others may read (systemd's credentials have their group's
            bit set), or a token too short or not of printable ASCII.
    """
    try:
        mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise BadInput(f"{flag} {path}: {why}; give a file with the token in it") from error
    others = stat.S_IRWXG | stat.S_IRWXO
    if _is_credential(path):
        # There group bits are the mask of an access list, which names the unit's user alone
        others &= ~stat.S_IRGRP
    if mode & others:
        raise BadInput(f"{flag} {path}: others may read it; run chmod 600 on it")
    if len(text) < SHORTEST or not text.isprintable() or " " in text:
        raise BadInput(
            f"{flag} {path}: a token is one line of at least {SHORTEST} characters without blanks, "
            "such as `openssl rand -hex 32` prints"
        )
    return text


def _is_credential(path: Path) -> bool:
    """Whether systemd handed it over to this unit."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(folder) and path.resolve().is_relative_to(Path(folder or "").resolve())


def header(token: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call."""
    return () if token is None else ((HEADER, f"Bearer {token}"),)
