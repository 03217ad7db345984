"""Folding and layouts change nothing but the speed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from cloud_server.engine import Engine
from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.split import cut
from splitlab.split.folding import fold_batch_norm

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


def z(rows: int = 3) -> torch.Tensor:
    return torch.randn(rows, *SHAPE, generator=torch.Generator().manual_seed(1)).relu()


@pytest.mark.parametrize("name", ["plain", "folded", "channels_last", "auto"])
def test_every_engine_gives_the_same_outputs(body: nn.Module, name: str) -> None:
    engine = Engine([body, body], SHAPE, name=name)
    answer = engine.run(z())
    engine.close()
    assert answer is not None
    wanted = body(z())
    assert len(answer.outputs) == 2
    for given in answer.outputs:
        assert float((given - wanted).abs().max() / wanted.abs().max()) <= 1e-5
    assert engine.name in ("plain", "folded", "channels_last")


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


@pytest.mark.parametrize(("wrong", "wanted"), [(False, "channels_last"), (True, "plain")])
def test_the_fastest_engine_is_chosen_but_only_if_it_agrees(
    body: nn.Module, monkeypatch: pytest.MonkeyPatch, wrong: bool, wanted: str
) -> None:
    seconds = iter([3.0, 2.0, 1.0])
    monkeypatch.setattr(
        "cloud_server.engine._measure", lambda run, example: (run(example)[0], next(seconds))
    )
    if wrong:
        monkeypatch.setattr(
            "cloud_server.engine.fold_batch_norm",
            lambda module: nn.Sequential(module, nn.Hardtanh(0.0, 0.1)),
        )
    engine = Engine([body], SHAPE)
    engine.close()
    assert engine.name == wanted


def test_an_unknown_engine_is_refused(body: nn.Module) -> None:
    with pytest.raises(BadInput, match="--engine 'fast'"):
        Engine([body], SHAPE, name="fast")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["plain", "folded", "channels_last"])
def test_cuda_gives_the_same_outputs(body: nn.Module, name: str) -> None:
    engine = Engine([body], SHAPE, name=name, device="cuda")
    answer = engine.run(z())
    engine.close()
    assert answer is not None
    wanted = body.cpu()(z())
    assert answer.outputs[0].device.type == "cpu"
    assert float((answer.outputs[0] - wanted).abs().max() / wanted.abs().max()) <= 1e-5


def test_a_device_that_is_not_there_is_refused(body: nn.Module) -> None:
    with pytest.raises(BadInput, match="tpu"):
        Engine([body], SHAPE, device="tpu")
