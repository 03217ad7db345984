"""Jobs in several processes side by side, each with a share of the cores, as results come."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

import torch
from torch import Tensor

from splitlab.contracts.own_code import permit, permitted
from splitlab.errors import SplitLabError
from splitlab.machine import commit
from splitlab.thread_share import thread_share
from splitlab.training import Progress, Work
from splitlab.training.progress import Silent

PR_SET_PDEATHSIG = 1
_saying = threading.Lock()
Job = TypeVar("Job")
Result = TypeVar("Result")


def side_by_side(
    do: Callable[[Job, Progress], Iterable[Result]],
    jobs: Sequence[Job],
    *,
    count: int,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """What `do(job, progress)` yields for each of the jobs, in the order in which it comes.

    A process takes the next job when it has done its last, so that long jobs belong in front. The
    processes never outlive this one: on Linux the kernel ends them with the thread that made them.
    Leaving the iteration early ends them too.

    Args:
        do: a function of a module, or a `partial` of one; it, the jobs and the results are pickled.
        count: processes, at most one a job; each gets its share of the cores' threads.
        progress: shows what the processes tell.

    Where a process ends by itself, such as for lack of memory, the others go on with what is left;
    its job is lost, and the last of them done, that is told.

    Raises:
        SplitLabError: of a job, as it was raised there; or a process ended.
    """
    cores = os.cpu_count() or 1
    count = max(1, min(count, len(jobs)))
    threads = max(1, cores // count)
    context = multiprocessing.get_context("spawn")
    links, processes = [], []
    with _environment(threads):
        for who in range(count):
            here, there = context.Pipe()
            given = (permitted(), do, jobs, there, threads, who, commit())
            processes.append(context.Process(target=_serve, args=given, daemon=True))
            processes[-1].start()
            there.close()
            links.append(here)
    shown, lost = _Shown(progress or Silent()), list[int]()
    todo, left = iter(range(len(jobs))), dict(zip(links, processes, strict=True))
    try:
        while left:
            ready = wait([*left, *(process.sentinel for process in left.values())])
            for link in [one for one in left if one in ready or left[one].sentinel in ready]:
                kind, first, second = _heard(link)
                if kind == "result":
                    yield first
                elif kind == "failed":
                    raise first
                elif kind == "next":
                    with contextlib.suppress(OSError):  # it has ended meanwhile
                        link.send(next(todo, None))
                elif kind == "done":
                    del left[link]
                elif kind:
                    shown.hear(kind, first, second)
                elif not left[link].is_alive():
                    lost.append(left.pop(link).exitcode or 0)
        _require_all(lost)
    finally:
        shown.close()
        for process in processes:
            if left:
                process.terminate()
            process.join()
        for link in links:
            link.close()


def _heard(link: Any) -> tuple[str, Any, Any]:
    """The next that a process told: it is in the pipe still where that has ended. "" for nothing.

    Where it ended before it read what it was sent, the system tells so in place of an end.
    """
    try:
        told: tuple[str, Any, Any] = link.recv() if link.poll() else ("", None, None)
    except (EOFError, OSError):
        return "", None, None
    return told


def _require_all(lost: Sequence[int]) -> None:
    """
    Raises:
        SplitLabError: a process ended otherwise than by having nothing left to do.
    """
    if lost:
        raise SplitLabError(
            f"a process that worked beside this one ended with {lost[0]}; start again, what is "
            "finished is kept"
        )


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    """What a child inherits: its share of threads."""
    wanted = thread_share(threads)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _serve(
    imports: Sequence[str],
    do: Callable[[Any, Progress], Iterable[Any]],
    jobs: Sequence[Any],
    link: Any,
    threads: int,
    who: int,
    code: str,
) -> None:
    """A process's whole life.

    Args:
        imports: modules of a user's own that it may import.
        link: the pipe to the process that waits; nobody else's, so that a kill harms no other.
        code: the commit of the process that waits; this one has loaded what is there now.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the process that waits
    torch.set_num_threads(threads)
    progress = _Telling(link, who)
    try:
        permit(*imports)
        if commit() != code:
            raise SplitLabError(
                f"the code changed while it ran (from {code} to {commit()}); start again, what is "
                "finished is kept"
            )
        while (number := _next(link)) is not None:
            for result in do(jobs[number], progress):
                _say(link, "result", result)
    except (Exception, SystemExit) as error:
        _say(link, "failed", _portable(error))
    else:
        _say(link, "done")


def _say(link: Any, kind: str, first: Any = None, second: Any = None) -> None:
    """Whole messages, whichever threads of a process tell of their work."""
    with _saying:
        link.send((kind, first, second))


def _next(link: Any) -> int | None:
    """The number of the next job, None where none is left."""
    _say(link, "next")
    number: int | None = link.recv()
    return number


def _portable(error: BaseException) -> SplitLabError:
    """The error itself where it survives a pipe and users may see it, else its words."""
    if isinstance(error, SplitLabError):
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            return SplitLabError(str(error))
        return error
    return SplitLabError(f"{type(error).__name__}: {error}")


class _Telling:
    """Progress that is told to the process that waits."""

    def __init__(self, told: Any, who: int) -> None:
        self._told, self._who, self._count = told, who, 0

    def task(self, name: str, total: int, done: int = 0) -> _TellingWork:
        self._count += 1
        key = (self._who, self._count)
        _say(self._told, "task", key, (name, total, done))
        return _TellingWork(self._told, key)


class _TellingWork:
    def __init__(self, told: Any, key: tuple[int, int]) -> None:
        self._told, self._key = told, key

    def advance(self, count: int, loss: Tensor | float | None = None) -> None:
        _say(self._told, "advance", self._key, (count, None if loss is None else float(loss)))

    def close(self) -> None:
        _say(self._told, "close", self._key)


class _Shown:
    """Pieces of work of all processes, shown here."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._works: dict[tuple[int, int], Work] = {}

    def hear(self, kind: str, key: tuple[int, int], value: Any) -> None:
        if kind == "task":
            self._works[key] = self._progress.task(*value)
        elif kind == "advance":
            self._works[key].advance(*value)
        else:
            self._works[key].close()

    def close(self) -> None:
        for work in self._works.values():
            work.close()
