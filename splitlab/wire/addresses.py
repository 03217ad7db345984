"""HOST:PORT texts: what is one, and whether it is this machine."""

from __future__ import annotations

import ipaddress
import re

from splitlab.errors import BadInput

_SCHEME = re.compile(
    r"[a-z][a-z0-9+.-]*://|(?:unix|unix-abstract|dns|ipv4|ipv6|vsock|xds|passthrough|tcp|http|grpc)"
    r":(?!\d{1,5}$)",
    re.IGNORECASE,
)


def split_address(address: str, flag: str) -> tuple[str, int]:
    """HOST:PORT -> (host, port). An IPv6 host stands in brackets.

    Raises:
        BadInput: no port, or one outside 0..65535.
    """
    scheme = _SCHEME.match(address)
    if scheme is not None:
        raise BadInput(
            f"{flag} {address!r}: {scheme[0]} is not taken; give HOST:PORT alone, such as "
            "localhost:50051 (TLS is asked for with --tls-ca or --tls-cert)"
        )
    if "," in address:
        raise BadInput(f"{flag} {address!r} is more than one HOST:PORT; give one")
    host, colon, port = address.rpartition(":")
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else -1
    if not colon or not host or not 0 <= number <= 65535:
        raise BadInput(f"{flag} {address!r} is not HOST:PORT with a port of 0 to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    if (":" in host or bracketed) and not _is_ipv6(host[1:-1] if bracketed else host):
        raise BadInput(f"{flag} {address!r}: {host!r} is neither a name nor an address of a host")
    if ":" in host and not bracketed:
        raise BadInput(f"{flag} {address!r}: put an IPv6 address in brackets, [{host}]:{port}")
    if re.search(r"[\s/@?#]", host):
        raise BadInput(f"{flag} {address!r}: {host!r} is neither a name nor an address of a host")
    return host, number


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine by its spelling; names other than localhost are not asked."""
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
