"""`len` and `range` are watched in the thread that traces, and are Python's own everywhere else."""

from __future__ import annotations

import builtins
import copy
import copyreg
import pickle
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from habits import SHAPE, Habit, habit
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from splitlab.errors import NotCuttable
from splitlab.split.limits.batch_size import AtSizes, BatchInt, batch_number
from splitlab.split.limits.watching import ONE_TRACE, watched_builtins
from splitlab.split.trace.flow import follow

LENGTH, NUMBERS = len, range
WAIT = 60


def elsewhere(work: Callable[[], Any]) -> Any:
    """What `work` gives in a thread of its own; its error is raised here."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((work(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert found, "the thread hangs"
    if found[0][1] is not None:
        raise found[0][1]
    return found[0][0]


def sized(count: int) -> Any:
    return batch_number(count, AtSizes(NUMBERS(1, 1025)), "net")


class Marked(TorchFunctionMode):
    """Answers as a trace does: the batch is marked in every shape."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = func(*args, **(kwargs or {}))
        marks = isinstance(given, torch.Size) and func.__name__ == "__get__"
        return torch.Size([sized(given[0]), *given[1:]]) if marks else given


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    yield
    assert builtins.len is LENGTH
    assert builtins.range is NUMBERS
    assert NUMBERS not in copyreg.dispatch_table


def test_the_thread_that_traces_sees_the_batch() -> None:
    with Marked(), watched_builtins():
        assert type(len(torch.zeros(3, 4))) is BatchInt
        assert len([1, 2]) == 2
        assert list(range(2)) == [0, 1]
        with pytest.raises(NotCuttable, match="loops over the batch"):
            range(sized(3))


def _nothing_watched() -> None:
    with Marked():  # of this thread alone
        assert type(len(torch.zeros(3, 4))) is int
    assert list(range(sized(3))) == [0, 1, 2]
    assert type(range(1, sized(3), 2)) is NUMBERS


def test_another_thread_sees_nothing_of_it() -> None:
    with Marked(), watched_builtins():
        elsewhere(_nothing_watched)
        assert type(len(torch.zeros(3))) is BatchInt


def _as_ever() -> None:
    numbers = range(1, 7, 2)
    assert isinstance(numbers, range)
    assert not isinstance([1], range)
    assert issubclass(NUMBERS, range)
    assert not issubclass(list, range)
    assert type(numbers) == range  # noqa: E721
    assert {NUMBERS: "found"}[range] == "found"
    assert repr(range) == "<class 'range'>"
    assert range.__name__ == "range"
    assert range.__doc__ == NUMBERS.__doc__
    assert range.index(numbers, 3) == 1
    match numbers:
        case range():
            pass
        case _:
            raise AssertionError
    assert pickle.loads(pickle.dumps(numbers)) == NUMBERS(1, 7, 2)
    assert pickle.loads(pickle.dumps([range])) == [range]
    assert copy.deepcopy([numbers]) == [NUMBERS(1, 7, 2)]
    with pytest.raises(TypeError):
        range("3")
    with pytest.raises(TypeError):
        len(3)


def test_range_is_as_ever_in_another_thread() -> None:
    _as_ever()
    with watched_builtins():
        elsewhere(_as_ever)
        kept = pickle.dumps(range(5))
    assert b"builtins" in kept
    assert pickle.loads(kept) == range(5)


def test_a_trace_inside_a_trace_restores_what_it_found() -> None:
    with watched_builtins():
        outer = builtins.len
        with watched_builtins():
            assert builtins.len is outer
        assert builtins.len is outer
        with pytest.raises(NotCuttable):
            range(sized(3))
        elsewhere(_nothing_watched)


def test_an_error_restores_them_too() -> None:
    with pytest.raises(ValueError, match="mine"), watched_builtins(), watched_builtins():
        raise ValueError("mine")
    assert list(range(sized(3))) == [0, 1, 2]


def _is_free() -> bool:
    free = ONE_TRACE.acquire(blocking=False)
    if free:
        ONE_TRACE.release()
    return free


def test_one_thread_traces_at_a_time() -> None:
    assert elsewhere(_is_free)
    with watched_builtins():
        assert not elsewhere(_is_free)
        with watched_builtins():
            pass
        assert not elsewhere(_is_free)
    assert elsewhere(_is_free)


class Asks(nn.Module):
    """A network that asks, in the middle of its forward, what other threads see."""

    def __init__(self, found: SimpleQueue[bool]) -> None:
        super().__init__()
        self.conv, self.found = nn.Conv2d(3, 4, 3), found

    def __deepcopy__(self, memo: Any) -> Asks:
        made = Asks(self.found)
        made.load_state_dict(self.state_dict())
        return made

    def forward(self, x: Tensor) -> Tensor:
        self.found.put(elsewhere(_is_free))
        elsewhere(_nothing_watched)
        elsewhere(_as_ever)
        return self.conv(x).flatten(1)


def test_others_are_untouched_in_the_middle_of_a_trace() -> None:
    found: SimpleQueue[bool] = SimpleQueue()
    follow(Asks(found), SHAPE, True)
    assert [found.get_nowait() for _ in NUMBERS(found.qsize())] == [False, False]  # a batch size
    assert elsewhere(_is_free)


def odd(self: Habit, x: Tensor) -> Tensor:  # noqa: ARG001
    return x * 2 if len(x) & 1 else x


def test_a_refusal_restores_all() -> None:
    fused = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(NotCuttable, match="batch"):
        follow(habit(odd)(), SHAPE, True)
    assert elsewhere(_is_free)
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_traces_in_two_threads_are_each_right() -> None:
    def refused() -> bool:
        with pytest.raises(NotCuttable, match="batch"):
            follow(habit(odd)(), SHAPE, True)
        return True

    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda: found.append(refused()), daemon=True) for _ in NUMBERS(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    assert found == [True] * 4
