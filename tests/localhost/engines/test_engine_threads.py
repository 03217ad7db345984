"""How torch's own engine is arranged: threads, bodies side by side, memory layouts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from cloud_server.cli import app
from cloud_server.engines import timing, torch_loop
from cloud_server.engines.contract import Arranged, EngineTask, Outputs, Runner
from cloud_server.engines.engine import Engine
from splitlab.errors import BadInput
from splitlab.split.proof import relative_error
from splitlab.thread_share import thread_share


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


def test_an_impossible_number_of_threads_is_an_error_at_once() -> None:
    with pytest.raises(RuntimeError, match="positive"):
        Engine([nn.Identity()], (3, 8, 8), name="plain", threads=-1)


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_the_server_s_own_threads_compute_alone(
    monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    before, seen = torch.get_num_threads(), list[tuple[int, int]]()

    def built(*_: object, threads: int, **__: object) -> None:
        seen.append((torch.get_num_threads(), threads))
        raise BadInput("enough")

    monkeypatch.setattr("splitlab.deployment.ServerHalf.load", lambda *_: None)
    monkeypatch.setattr("cloud_server.handler.largest_held", lambda _: 1)
    monkeypatch.setattr("cloud_server.server.CloudServer", built)
    monkeypatch.setattr("cloud_server.check.checked", lambda *args: built(threads=args[-1]))
    told = CliRunner().invoke(app, ["half", "--threads", "3", *more])
    torch.set_num_threads(before)
    assert "enough" in told.output
    assert seen == [(1, 3)]


def test_processes_that_share_cores_spin_a_little() -> None:
    assert thread_share(2) == {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "TORCH_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
    }


def test_each_body_of_those_side_by_side_has_one_thread() -> None:
    before = torch.get_num_threads()
    seen: list[list[int]] = [[], [], []]
    bodies = [Telling(own).eval() for own in seen]
    task = EngineTask(bodies, torch.ones(1, 3, 8, 8), torch.device("cpu"), threads=2)
    run = torch_loop.side_by_side(task)
    torch.set_num_threads(2)
    run(task.example)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert seen == [[1], [1], [1]]


@pytest.mark.parametrize("layout", torch_loop.LAYOUTS.values())
def test_bodies_side_by_side_give_what_each_gives_alone(layout: torch.memory_format) -> None:
    """More bodies than threads; the threads of the caller are as they were."""
    bodies = [nn.Conv2d(3, 4, 3).eval().requires_grad_(False) for _ in range(5)]
    before = torch.get_num_threads()
    x = torch.randn(4, 3, 8, 8)
    task = EngineTask(bodies, x, torch.device("cpu"), threads=2)
    outputs, each_us = torch_loop.side_by_side(task, layout=layout)(x)
    assert len(each_us) == 5
    for given, body in zip(outputs, bodies, strict=True):
        assert relative_error(given, body(x)) <= 1e-5
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def fixed(monkeypatch: pytest.MonkeyPatch, seconds: list[tuple[float, float]]) -> Arranged:
    """What `fastest` makes of ways that take so long with one row and with several."""
    took: dict[Runner, tuple[float, float]] = {}

    def way(number: int) -> Callable[[EngineTask], Runner]:
        def make(_: EngineTask) -> Runner:
            def run(_feature: Tensor) -> Outputs:
                return [torch.tensor(number)], ()

            took[run] = seconds[number]
            return run

        return make

    monkeypatch.setattr(timing, "seconds", lambda run, x: took[run][len(x) > 1])
    task = EngineTask([], torch.ones(4, 3), torch.device("cpu"), threads=2)
    return timing.fastest({str(number): way(number) for number in range(len(seconds))}, task)


@pytest.mark.parametrize(
    ("seconds", "one", "several"),
    [
        ([(3.0, 9.0), (1.0, 4.0), (2.0, 8.0)], 1, 1),
        ([(1.0, 9.0), (2.0, 4.0)], 0, 1),
        ([(1.0, 4.2), (2.0, 4.0)], 0, 0),
        ([(1.0, 9.0), (1.05, 4.0)], 1, 1),
    ],
)
def test_the_fastest_way_is_taken_and_two_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, seconds: list[tuple[float, float]], one: int, several: int
) -> None:
    run = fixed(monkeypatch, seconds)
    assert run.how.startswith(str(one))
    assert ("several" in run.how) == (one != several)
    assert [int(run(torch.ones(rows, 3))[0][0]) for rows in (1, 2, 4)] == [one, several, several]


def test_torch_tries_both_layouts_one_by_one_and_side_by_side(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[dict[str, Callable[[EngineTask], Runner]]] = []

    def fastest(ways: dict[str, Callable[[EngineTask], Runner]], task: EngineTask) -> Runner:
        tried.append(ways)
        return ways["channels last"](task)

    monkeypatch.setattr(torch_loop, "fastest", fastest)
    for bodies in (2, 1):
        task = EngineTask(
            [nn.Identity()] * bodies, torch.ones(1, 3), torch.device("cpu"), threads=2
        )
        torch_loop.best(task)
    layouts = {"channels first", "channels last"}
    assert set(tried[0]) == layouts | {f"{name}, side by side" for name in layouts}
    assert set(tried[1]) == layouts
