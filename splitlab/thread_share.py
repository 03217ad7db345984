"""How many threads a process uses, told before it loads torch, and a thread of it, told after."""

from __future__ import annotations

SPINS = 10_000
"""Well below a millisecond. Threads of one forward pass meet after every layer: without spinning
each meeting costs a wake-up, which small layers pay for; with libgomp's own 300,000 a process that
has nothing to do keeps a core from the others for thirty times as long."""


def thread_share(threads: int) -> dict[str, str]:
    """Environment of a child that may use `threads` threads.

    GOMP_SPINCOUNT is libgomp's, which torch brings on Linux; other runtimes go by the policy.
    """
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCH_NUM_THREADS")
    share = dict.fromkeys(names, str(threads))
    return {**share, "OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": str(SPINS)}


def use_threads(count: int) -> None:
    """So many for what the calling thread computes, whatever other threads set later.

    torch keeps one number for threads that have not computed yet, and takes it over at their first
    operation, or when they ask for it.
    """
    import torch

    torch.set_num_threads(count)
    torch.get_num_threads()
