"""What a role takes until it has built its network: a fork, as a run starts it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.roles.launch import start
from splitlab.contracts import ArchSpec
from splitlab.contracts.own_code import permit, permitted
from splitlab.models import build


class Starting:
    """A process that starts as a role does, beside what else is measured meanwhile.

    It tells the time of a core that it took, which another process beside it hardly changes. What
    loads for all of them does so while networks are trained, and is not counted.
    """

    def __init__(self, arch: ArchSpec) -> None:
        with Path(os.devnull).open("wb") as nowhere:
            self._process = start(
                ["bench.estimate.processes", arch.model_dump_json(), *permitted()],
                stdout=subprocess.PIPE,
                stderr=nowhere,
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


if __name__ == "__main__":
    import cloud_server.server  # noqa: F401 - loaded, not used
    import edge_client.client  # noqa: F401

    permit(*sys.argv[2:])
    build(ArchSpec.model_validate_json(sys.argv[1]), seed=0)
    print(time.process_time())
