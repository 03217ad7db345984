"""Why a server refused, in one word beside RESOURCE_EXHAUSTED, so that a client can say what to do.

The word stands in the trailing metadata `splitlab-refusal`. A server without it, or with another
word, is understood by its status alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

HEADER = "splitlab-refusal"

CALLS = "calls"
"""The host has as many calls open as one host may."""
CROWDED = "crowded"
"""Other hosts hold the calls that there are."""
STREAMS = "streams"
"""No further stream is granted; calls may be."""
MEMORY = "memory"
"""No room for the message came up in time."""


def reason_of(metadata: Iterable[Any] | None) -> str | None:
    """The word in a call's trailing metadata, None where there is none."""
    for key, value in metadata or ():
        if key == HEADER and isinstance(value, str):
            return value
    return None
