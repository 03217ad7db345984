"""What a process that shares its cores is told about threads before it loads torch."""

from __future__ import annotations

SPINS = 10_000
"""A fraction of a millisecond. Threads of one forward pass meet after every layer: without any
spinning each meeting costs a wake-up, and small networks take half as long again; with libgomp's
own 300,000 a process that has nothing to do keeps a core from the others for ten milliseconds."""


def thread_share(threads: int) -> dict[str, str]:
    """Environment of a child that may use `threads` threads.

    GOMP_SPINCOUNT is libgomp's, which torch brings on Linux; other runtimes go by the policy.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NUM_THREADS")
    share = dict.fromkeys(names, str(threads))
    return {**share, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)}
