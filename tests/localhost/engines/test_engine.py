"""Every engine gives what the plain loop gives; requests that wait go together."""

from __future__ import annotations

import copy
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cloud_server.engines import choose, onnxruntime_graph, torch_loop
from cloud_server.engines.choose import ENGINE_KINDS
from cloud_server.engines.contract import (
    EngineKind,
    EngineTask,
    Outputs,
    Runner,
    Unfit,
)
from cloud_server.engines.engine import Engine
from cloud_server.engines.turns import Turns
from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.split import cut
from splitlab.split.folding import fold_batch_norm
from splitlab.split.proof import relative_error

SHAPE = (8, 32, 32)


@pytest.fixture(scope="module")
def body() -> nn.Module:
    """The body of a small network whose BatchNorm statistics are not those of a fresh one."""
    net = build(ArchSpec(name="tiny_cnn"), seed=0)
    source = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(generator=source)
            module.running_var.uniform_(0.3, 3, generator=source)
            nn.init.uniform_(module.weight, 0.3, 3, generator=source)
            nn.init.normal_(module.bias, generator=source)
    return cut(net, "block1.2", None, (3, 32, 32)).body.eval().requires_grad_(False)


class Doubled(nn.Module):
    def forward(self, y: Tensor) -> Tensor:
        return 2 * y


class Held(nn.Module):
    """Doubles, and waits in the forward pass until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.entered = threading.Event(), threading.Event()
        self.batches: list[int] = []
        self.go.set()

    def forward(self, feature: Tensor) -> Tensor:
        self.batches.append(len(feature))
        if not self.go.is_set():
            self.entered.set()
            self.go.wait(10)
        return 2 * feature


def bfloat16_here() -> bool:
    """Whether OpenVINO would take products in BF16 on this machine."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def z(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, *SHAPE, generator=torch.Generator().manual_seed(1)).relu()


@pytest.mark.parametrize("name", ["plain", "folded", "torch", "onnxruntime", "openvino"])
def test_every_engine_gives_the_loop_s_outputs(body: nn.Module, name: str) -> None:
    """For another number of rows than it was built with; two bodies, told apart."""
    other = nn.Sequential(copy.deepcopy(body), Doubled())
    engine = Engine([body, other], SHAPE, name=name, threads=1)
    answers = [engine.run(z(rows)) for rows in (3, 1, 5)]
    kept = [[y.clone() for y in answer.outputs] for answer in answers]
    engine.run(z(5) + 1)
    engine.close()
    for answer, before, rows in zip(answers, kept, (3, 1, 5), strict=True):
        assert answer is not None
        # What was answered does not change with the next request.
        assert all(map(torch.equal, answer.outputs, before))
        for given, wanted in zip(answer.outputs, (body(z(rows)), other(z(rows))), strict=True):
            assert relative_error(given, wanted) <= ENGINE_KINDS[name].tolerance
    assert engine.name == name
    assert engine.chosen.precision == "FP32"
    assert engine.chosen.error <= ENGINE_KINDS[name].tolerance


@pytest.mark.parametrize("name", ["torch", "openvino"])
def test_bfloat16_is_near_and_says_so(body: nn.Module, name: str) -> None:
    if name == "openvino" and not bfloat16_here():
        with pytest.raises(BadInput, match="this machine's CPU takes no products in BF16"):
            Engine([body], SHAPE, name=name, bfloat16=True)
        return
    engine = Engine([body], SHAPE, name=name, bfloat16=True)
    answer = engine.run(z())
    engine.close()
    assert answer is not None
    assert engine.chosen.precision == "BF16"
    assert relative_error(answer.outputs[0], body(z())) < 0.05
    assert answer.outputs[0].dtype is torch.float32


def test_folding_leaves_no_batch_norm_and_touches_only_the_copy(body: nn.Module) -> None:
    before = {name: value.clone() for name, value in body.state_dict().items()}
    folded = fold_batch_norm(copy.deepcopy(body))
    called = {
        type(part.get_submodule(str(node.target)))
        for part in folded.modules()
        if isinstance(part, torch.fx.GraphModule)
        for node in part.graph.nodes
        if node.op == "call_module"
    }
    assert nn.Conv2d in called
    assert nn.BatchNorm2d not in called
    assert all(torch.equal(value, before[name]) for name, value in body.state_dict().items())


def fake(seconds: float, wrong: float = 0.0) -> EngineKind:
    """An engine whose time is what the test says."""

    def make(task: EngineTask) -> Runner:
        def run(feature: Tensor) -> Outputs:
            return [body(feature) + wrong for body in task.bodies], ()

        timed[run] = seconds
        return run

    return EngineKind(make)


timed: dict[Runner, float] = {}


def refusing(_: EngineTask) -> Runner:
    raise Unfit("it does not like this network")


def test_auto_takes_the_fastest_that_agrees_and_says_why_not_the_others(
    body: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {
        "plain": fake(4.0),
        "quick": fake(2.0),
        "quicker": fake(1.0, wrong=0.1),
        "refusing": EngineKind(refusing),
        "absent": replace(fake(1.0), missing=lambda: "abc"),
    }
    monkeypatch.setattr(choose, "ENGINE_KINDS", kinds)
    monkeypatch.setattr(choose, "seconds", lambda run, z: timed[run] * len(z))
    engine = Engine([body], SHAPE, name="auto", rows=2, together=4)
    engine.close()
    facts = engine.chosen.as_facts()
    assert facts["engine"] == "quick"
    assert facts["engines_ms"] == {
        "plain": {"1 row": 4000.0, "4 rows": 16000.0},
        "quick": {"1 row": 2000.0, "4 rows": 8000.0},
    }
    assert "arranged" not in facts
    told = facts["engines_passed_over"]
    assert set(told) == {"quicker", "refusing", "absent"}
    assert "differ by" in told["quicker"]
    assert "does not like" in told["refusing"]
    assert "abc is not installed" in told["absent"]


@pytest.mark.slow
def test_auto_measures_what_is_installed(body: nn.Module) -> None:
    engine = Engine([body], SHAPE, name="auto", rows=2)
    engine.close()
    chosen = engine.chosen
    assert set(chosen.milliseconds) == {"plain", "folded", "torch", "onnxruntime", "openvino"}
    fastest = {
        min(chosen.milliseconds, key=lambda name: chosen.milliseconds[name][rows])
        for rows in (1, 32)
    }
    assert set(chosen.name.split(", ")) <= fastest


def test_folding_that_changes_the_outputs_gives_way_to_the_loop(
    body: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        torch_loop,
        "fold_batch_norm",
        lambda module: nn.Sequential(module, nn.Hardtanh(0.0, 0.1)),
    )
    engine = Engine([body], SHAPE)
    engine.close()
    assert engine.name == "plain"
    assert "folding changes" in engine.chosen.passed_over["torch"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "fast"}, "--engine 'fast': give auto, plain"),
        ({"name": "cudagraphs"}, "--engine cudagraphs runs on cuda, the device is cpu"),
        ({"name": "onnxruntime", "bfloat16": True}, "does not take products in BF16; plain"),
    ],
)
def test_an_engine_that_cannot_be_had_is_refused(
    body: nn.Module, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadInput, match=re.escape(words)):
        Engine([body], SHAPE, **options)


def test_an_extra_that_is_missing_is_named(
    body: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_graph.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BadInput, match=r"onnxruntime onnx onnxscript is not installed; pip inst"):
        Engine([body], SHAPE, name="onnxruntime")


def test_a_network_that_does_not_export_is_refused_in_words() -> None:
    class Odd(nn.Module):
        def forward(self, feature: Tensor) -> Tensor:
            return feature if feature.sum() > 0 else -feature

    with pytest.raises(BadInput, match="--engine openvino: this network does not export to ONNX"):
        Engine([Odd()], (2, 3), name="openvino")


def test_requests_that_wait_go_together_and_each_gets_its_own() -> None:
    body = Held()
    engine = Engine([body], (3,), name="plain", together=4)
    body.batches.clear()
    body.go.clear()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(engine.run, torch.full((1, 3), 0.0))
        assert body.entered.wait(10)
        others = []
        for number in range(1, 6):
            others.append(pool.submit(engine.run, torch.full((1, 3), float(number))))
            while len(engine._waiting) < number:
                threading.Event().wait(0.001)
        body.go.set()
        answers = [future.result() for future in (first, *others)]
    engine.close()
    assert body.batches == [1, 4, 1]
    for number, answer in enumerate(answers):
        assert answer is not None
        assert torch.equal(answer.outputs[0], torch.full((1, 3), 2.0 * number))
    assert [answer.rows_together for answer in answers if answer] == [1, 4, 4, 4, 4, 1]


def test_a_long_backlog_of_one_host_does_not_keep_another_waiting() -> None:
    body = Held()
    engine = Engine([body], (3,), name="plain", together=1)
    body.batches.clear()
    body.go.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(engine.run, torch.zeros(1, 3), host="busy")]
        assert body.entered.wait(10)
        for rows, host in ((1, "busy"),) * 5 + ((2, "other"), (3, "other")):
            before = len(engine._waiting)
            asked.append(pool.submit(engine.run, torch.zeros(rows, 3), host=host))
            while len(engine._waiting) == before:
                threading.Event().wait(0.001)
        body.go.set()
        assert all(future.result() is not None for future in asked)
    engine.close()
    assert body.batches == [1, 1, 2, 1, 3, 1, 1, 1]


def test_hosts_take_turns_within_a_batch_too() -> None:
    turns: Turns[str] = Turns()
    for job in ("a1", "a2", "a3", "b1", "b2", "c1"):
        turns.add(job[0], 2, job)
    assert turns.take(together=4) == ["a1", "b1"]
    assert turns.take(together=7) == ["c1", "a2", "b2"]
    turns.add("b", 9, "b3")
    turns.add("c", 9, "c2")
    assert turns.take(together=4) == ["a3"]
    assert turns.take(together=4) == ["b3"]
    assert turns.take(together=4) == ["c2"]
    assert not turns
    assert turns.take(together=4) == []


def test_who_is_gone_does_not_cost_the_others_their_answer() -> None:
    body = Held()
    engine = Engine([body], (3,), name="plain")
    body.go.clear()
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(engine.run, torch.zeros(1, 3))
        assert body.entered.wait(10)
        gone = pool.submit(engine.run, torch.ones(1, 3), lambda: False)
        there = pool.submit(engine.run, torch.ones(2, 3))
        while len(engine._waiting) < 2:
            threading.Event().wait(0.001)
        body.go.set()
        assert first.result() is not None
        assert gone.result() is None
        answer = there.result()
    engine.close()
    assert answer is not None
    assert torch.equal(answer.outputs[0], torch.full((2, 3), 2.0))


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["plain", "folded", "torch", "cudagraphs", "auto"])
def test_cuda_gives_the_same_outputs(body: nn.Module, name: str) -> None:
    engine = Engine([body], SHAPE, name=name, device="cuda")
    answers = [engine.run(z(rows)) for rows in (3, 1, 3)]
    engine.close()
    wanted = body.cpu()
    for answer, rows in zip(answers, (3, 1, 3), strict=True):
        assert answer is not None
        assert answer.outputs[0].device.type == "cpu"
        assert relative_error(answer.outputs[0], wanted(z(rows))) <= 1e-5
