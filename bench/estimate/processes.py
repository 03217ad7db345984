"""What a process of ours takes until it has imported everything and built the network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.launch import thread_environment
from splitlab.contracts import ArchSpec

_BEGIN = """
import sys, time
import cloud_server.server, edge_client.client, edge_client.cli, cloud_server.cli
from splitlab.contracts import ArchSpec
from splitlab.models import build
build(ArchSpec.model_validate_json(sys.argv[1]), seed=0)
print(time.process_time())
"""


class Starting:
    """A process that starts as a role does, beside what else is measured meanwhile.

    It tells the time of a core that it took, which another process beside it hardly changes.
    """

    def __init__(self, arch: ArchSpec) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BEGIN, arch.model_dump_json()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=thread_environment(1),
            text=True,
        )

    def seconds(self) -> float:
        """Waits for it; 0 where it failed, as what it does will then fail with a better word."""
        told, _ = self._process.communicate()
        try:
            return float(told)
        except ValueError:
            return 0.0


def role_threads() -> int:
    """Threads of a client or server that a run starts."""
    return max(1, (os.cpu_count() or 2) // 2)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """What computes inside does so with `count` threads, as a role's process does."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
