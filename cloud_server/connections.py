"""How many connections a server may take: well below the files that its process may have open."""

from __future__ import annotations

import resource

from splitlab.errors import BadInput

MOST = 4096
"""By default: each without a call takes tens of KiB."""
OTHER_FILES = 128
"""Descriptors for what is no connection: libraries, epoll, a tap, the readers of metrics."""


def room_for(asked: int | None) -> int:
    """Connections that may be open at a time; None asks for half of what fits, at most `MOST`.

    Raises:
        BadInput: more than fits.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = files - OTHER_FILES
    if files == resource.RLIM_INFINITY:
        return asked or MOST
    if most < (asked or 1):
        raise BadInput(
            f"--max-connections {asked or 1}: this process may have {files} files open, and "
            f"{OTHER_FILES} of them are for others than connections; ask for at most "
            f"{max(0, most)}, or raise the limit (`ulimit -n`, LimitNOFILE of systemd)"
        )
    return asked or min(MOST, max(1, most // 2))
