"""How torch's own engine is arranged: threads, bodies side by side, memory layouts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloud_server.engines import timing, torch_loop
from cloud_server.engines.contract import Runner, Task, relative_error
from cloud_server.engines.engine import Engine


class Telling(nn.Module):
    """Says with how many threads it was run, and so do its copies."""

    def __init__(self, seen: list[int]) -> None:
        super().__init__()
        self.tell = seen.append

    def __deepcopy__(self, memo: dict[int, Any]) -> Telling:
        return self

    def forward(self, x: Tensor) -> Tensor:
        self.tell(torch.get_num_threads())
        return x


def test_only_the_engine_computes_with_its_threads() -> None:
    """A second team of threads in a process slows both, and every thread that computes has one."""
    before, seen, later = torch.get_num_threads(), list[int](), list[int]()
    engine = Engine([Telling(seen)], (3, 8, 8), name="plain", threads=before + 1)
    other = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    other.start()
    other.join()
    engine.run(torch.ones(1, 3, 8, 8))
    engine.close()
    assert seen == [before + 1]
    assert later == [torch.get_num_threads()] == [before]


def test_each_body_of_those_side_by_side_has_one_thread() -> None:
    before = torch.get_num_threads()
    seen: list[list[int]] = [[], [], []]
    bodies = [Telling(own).eval() for own in seen]
    task = Task(bodies, torch.ones(1, 3, 8, 8), torch.device("cpu"), threads=2)
    run = torch_loop.side_by_side(task)
    torch.set_num_threads(2)
    run(task.example)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert seen == [[1], [1], [1]]


@pytest.mark.parametrize("layout", torch_loop.LAYOUTS)
def test_bodies_side_by_side_give_what_each_gives_alone(layout: torch.memory_format) -> None:
    """More bodies than threads; the threads of the caller are as they were."""
    bodies = [nn.Conv2d(3, 4, 3).eval().requires_grad_(False) for _ in range(5)]
    before = torch.get_num_threads()
    x = torch.randn(4, 3, 8, 8)
    task = Task(bodies, x, torch.device("cpu"), threads=2)
    outputs, each_us = torch_loop.side_by_side(task, layout=layout)(x)
    assert len(each_us) == 5
    for given, body in zip(outputs, bodies, strict=True):
        assert relative_error(given, body(x)) <= 1e-5
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_torch_takes_what_is_fastest_here(monkeypatch: pytest.MonkeyPatch) -> None:
    body = nn.Conv2d(3, 4, 3).eval().requires_grad_(False)
    task = Task([body, body], torch.randn(2, 3, 8, 8), torch.device("cpu"), threads=2)
    made: list[Runner] = []

    def way(task: Task, make: Callable[..., Runner], **how: Any) -> Runner:
        made.append(make(task, **how))
        return made[-1]

    for name in ("folded", "channels_last", "side_by_side"):
        monkeypatch.setattr(torch_loop, name, partial(way, make=getattr(torch_loop, name)))
    for quickest in range(4):
        made.clear()
        monkeypatch.setattr(timing, "typical", lambda *_, n=quickest: len(made) != n + 1)
        assert torch_loop.best(task) is made[quickest]
        assert len(made) == 4
