"""How many connections a server may take: well below the files that its process may have open."""

from __future__ import annotations

import ipaddress
import resource

from splitlab.errors import BadInput

MOST = 4096
"""By default, of an address: each without a call takes tens of KiB."""
OTHER_FILES = 128
"""Descriptors for what is no connection: libraries, epoll, a tap, the readers of metrics."""


def room_for(asked: int | None, host: str) -> int:
    """Connections that may be open at a time at each address that the server listens at, as gRPC
    counts them by address; None asks for half of what fits, at most `MOST`.

    Args:
        host: where it listens: an address, or a name, which is taken for two: `localhost` stands
            for 127.0.0.1 and for ::1.

    Raises:
        BadInput: more than fits.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return asked or MOST
    addresses = 1 if _is_address(host) else 2
    most = (files - OTHER_FILES) // addresses
    if most >= (asked or 1):
        return asked or min(MOST, max(1, most // 2))
    limit = (
        f"this process may have {files} files open, and {OTHER_FILES} of them are for others than "
        "connections"
    )
    raised = "raise the limit (`ulimit -n`, LimitNOFILE of systemd)"
    if most < 1:
        raise BadInput(f"{limit}, so that there is room for none; {raised}")
    each = "" if addresses == 1 else f" at each of the {addresses} addresses of {host!r}"
    raise BadInput(f"--max-connections {asked}: {limit}; ask for at most {most}{each}, or {raised}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
