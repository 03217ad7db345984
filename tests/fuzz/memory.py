"""What one input may take of memory: what Python and NumPy allocate, and what the process holds."""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import tracemalloc
from collections.abc import Callable

from splitlab.errors import SplitLabError

Target = Callable[[bytes], None]

LARGE = 1 << 20
"""Bytes of a message as large as micro-batches are."""
A_BYTE = 40
"""Bytes that may be allocated for each of an input; JSON of empty objects alone takes 25."""
WORDED = dict.fromkeys(("server_manifest", "client_manifest", "capture_index"), 1000)
"""Instead of `A_BYTE`, where pydantic puts each wrong field of a list in words."""
BESIDE = LARGE
"""Bytes that may be allocated whatever the input, as the first one loads modules."""
OWN = {"flood": 4 * LARGE}
"""Instead of `BESIDE`, for targets that make messages of their own."""
GROWTH = 48 << 20
"""Bytes that the process, protobuf and torch included, may hold beyond those before an input."""
TRACED = 10
"""Allocations of each tenth input are traced, as that makes it two to five times slower."""

CLEAR_REFS = "/proc/self/clear_refs"
FORGETFUL = os.access(CLEAR_REFS, os.W_OK)
"""Whether this system forgets a process's peak when it is told to; else all inputs share one."""

_forget = os.open(CLEAR_REFS, os.O_WRONLY) if FORGETFUL else None
_numbers = itertools.count()


def peak() -> int:
    """Most bytes that this process has held so far, or since it was told to forget."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def run(target: Target, data: bytes, *, every: int = TRACED) -> None:
    """One input; the lab's own errors are what a reader is for.

    Args:
        every: of so many inputs, from the first on, one has its allocations traced.

    Raises:
        MemoryError: it took far more than any input declares.
    """
    if _forget is not None:
        os.pwrite(_forget, b"5", 0)
    before = peak()
    traced = next(_numbers) % every == 0
    allocated = _allocated(target, data, traced=traced)
    name = target.__name__
    allowed = WORDED.get(name, A_BYTE) * len(data) + OWN.get(name, BESIDE)
    if allocated > allowed:  # once may be Python's own tables that grow, such as interned names
        allocated = min(allocated, _allocated(target, data, traced=True))
    if allocated > allowed:
        raise MemoryError(f"{len(data)} bytes took {allocated} bytes, {allowed} are allowed")
    if peak() - before > GROWTH:
        raise MemoryError(f"{len(data)} bytes took more than {GROWTH >> 20} MiB")


def _allocated(target: Target, data: bytes, *, traced: bool) -> int:
    """Most bytes that Python and NumPy held for one input; 0 where nothing is traced."""
    if traced:
        tracemalloc.start()
    try:
        with contextlib.suppress(SplitLabError):
            target(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
