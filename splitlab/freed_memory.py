"""What a process does with memory that it has freed: gives it back, or keeps it for the next step.

glibc gives large blocks back at once, so that each step of a descent on large images has the
kernel find, clear and map the same pages again.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_MOST, _GROWTH = 2**31 - 1, 64 << 20


def keep_freed_memory() -> bool:
    """Keep it, from now on; for work of one process that ends, not for a server.

    A process then never shrinks below its highest need, which is not higher than before.

    Returns:
        Whether the C library has the means; others work as before.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    options = ((_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _GROWTH), (_MMAP_MAX, 0))
    return all(set_option(name, value) for name, value in options)
