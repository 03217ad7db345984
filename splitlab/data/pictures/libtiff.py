"""libtiff writes of damage to the process's stderr; what it says is known from Pillow's error."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import _imaging

HANDLERS = ("TIFFSetErrorHandler", "TIFFSetWarningHandler")


@contextmanager
def silent_libtiff() -> Iterator[None]:
    """Inside, the libtiff that Pillow uses writes nothing.

    Where it was built into Pillow without names to reach it by, it goes on writing.
    """
    before = {name: _set(name, None) for name in HANDLERS}
    try:
        yield
    finally:
        for name, handler in before.items():
            _set(name, handler)


def _set(name: str, handler: int | None) -> int | None:
    """Set one of libtiff's handlers, None for silence; returns the one before."""
    try:
        # Names are looked up in what Pillow's own library depends on, so in its own libtiff.
        function = getattr(ctypes.CDLL(_imaging.__file__), name)
    except (AttributeError, OSError):
        return None
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    before: int | None = function(handler)
    return before
