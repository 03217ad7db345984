"""Which host a peer is."""

from __future__ import annotations

import ipaddress
from urllib.parse import unquote


def host_of(peer: str) -> str:
    """Whom a limit is for: `ipv4:192.0.2.1:50000` -> `ipv4:192.0.2.1`.

    One IPv6 host commonly has a whole /64 to take addresses from, so that these count as one:
    `ipv6:%5B2001:db8::1%5D:50000` -> `ipv6:2001:db8::/64`. What has no port stays as it is.
    """
    host, colon, port = peer.rpartition(":")
    if not (colon and port.isdigit() and ":" in host):
        return peer
    kind, _, bare = host.partition(":")
    if kind != "ipv6":
        return host
    try:
        address = ipaddress.IPv6Address(unquote(bare).strip("[]").partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return f"ipv4:{address.ipv4_mapped}"
    return f"ipv6:{ipaddress.IPv6Network((address, 64), strict=False)}"
