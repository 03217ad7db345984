"""Progress of long work: a protocol, nothing at all, or a bar with loss, images/s and time left."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Work(Protocol):
    """One piece of work that is under way."""

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        """`count` more images are done; `loss` is the last batch's, read only when shown."""
        ...

    def close(self) -> None:
        """The work is over, finished or not; may be called twice."""
        ...


class Progress(Protocol):
    """Shows any number of pieces of work."""

    def task(self, name: str, total: int, done: int = 0) -> Work:
        """Begin a piece of work of `total` images, of which `done` were done by an earlier run."""
        ...


class _SilentWork:
    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        pass

    def close(self) -> None:
        pass


class Silent:
    """Shows nothing."""

    def task(self, name: str, total: int, done: int = 0) -> Work:  # noqa: ARG002
        return _SilentWork()
