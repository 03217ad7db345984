"""Who waits for the bodies: a queue for each host, from which hosts take turns."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

Job = TypeVar("Job")


class Turns(Generic[Job]):
    """Jobs of each host in their order, however many others have; its owner locks it."""

    def __init__(self) -> None:
        # The first host is the next; one without a job is not kept.
        self._queues: dict[str, deque[tuple[int, Job]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, host: str, rows: int, job: Job) -> None:
        """`job` of so many rows goes behind those of its host."""
        self._queues.setdefault(host, deque()).append((rows, job))

    def take(self, together: int) -> list[Job]:
        """The next job, and those of the next turns while their rows are at most `together`."""
        jobs: list[Job] = []
        room = together
        while self._queues:
            host = next(iter(self._queues))
            rows, job = self._queues[host][0]
            room -= rows
            if jobs and room < 0:
                break
            jobs.append(job)
            queue = self._queues.pop(host)
            queue.popleft()
            if queue:
                self._queues[host] = queue  # behind the others
        return jobs
