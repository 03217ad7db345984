"""A tail for several outputs answers as the tail for one, where all of them are equal."""

import pytest
import torch

from splitlab.contracts import ArchSpec
from splitlab.deployment import Selector
from splitlab.errors import BadInput
from splitlab.models import build
from splitlab.split import cut, load_part_state, part_state, widen
from splitlab.split.widen import ADAPTER

WIDER = [
    ("tiny_cnn", "block1", "block2", "block3.0.weight"),
    ("tiny_cnn", "block1", "block3", "fc.weight"),
    ("tiny_cnn", "block1", "flatten", "fc.weight"),
    ("resnet20", "relu", "avgpool", "linear.weight"),
    ("vgg11_cifar", "features.0", "features.28", "classifier.weight"),
    ("tiny_vit", "conv_proj", "norm", "head.weight"),
    ("tiny_vit", "conv_proj", "getitem", "head.weight"),
]
ADAPTED = [
    ("tiny_cnn", "block1", None),
    ("tiny_cnn", "block1", "block3.0"),
    ("resnet20", "relu", "layer3.0"),
    ("tiny_vit", "conv_proj", "layers.0"),
]


def parts_of(name, head_end, tail_start):
    arch = ArchSpec(name=name, classes=5)
    net = build(arch, seed=0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return cut(net, head_end, tail_start, arch.input.shape)


def answers(parts, times):
    """The tail's answer to one output, and the widened tail's to `times` equal ones of more."""
    with torch.no_grad():
        output = parts.body(parts.head(torch.rand(3, 3, 32, 32)))
        chosen = Selector(times + 1, tuple(range(times, 0, -1)))
        fed = chosen([output] * (times + 1))
        wide = widen(parts.tail, times)
        assert fed.shape[1:] == wide.input_shape == chosen.output_shape(parts.tail.input_shape)
        return wide, wide(fed), parts.tail(output)


@pytest.mark.parametrize(("name", "head_end", "tail_start", "key"), WIDER)
def test_first_layers_take_more_inputs(name, head_end, tail_start, key):
    parts = parts_of(name, head_end, tail_start)
    wide, answer, wanted = answers(parts, 3)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)
    before, after = part_state(parts.tail), part_state(wide)
    assert before.keys() == after.keys()
    changed = {k for k in before if before[k].shape != after[k].shape}
    assert {k.removeprefix("net.") for k in changed} == {key}
    (only,) = changed
    assert after[only].shape[1] == 3 * before[only].shape[1]


@pytest.mark.parametrize(("name", "head_end", "tail_start"), ADAPTED)
def test_elsewhere_an_adapter_is_put_in_front(name, head_end, tail_start):
    parts = parts_of(name, head_end, tail_start)
    wide, answer, wanted = answers(parts, 3)
    torch.testing.assert_close(answer, wanted, rtol=1e-4, atol=1e-5)
    assert part_state(wide).keys() - part_state(parts.tail).keys() == {f"{ADAPTER}.weight"}


@pytest.mark.parametrize("case", [WIDER[1][:3], ADAPTED[2]])
def test_it_is_rebuilt_from_the_network_and_its_own_tensors(case):
    """As `ClientHalf.load` does: cut another network, widen, load."""
    parts = parts_of(*case)
    wide = widen(parts.tail, 2)
    with torch.no_grad():
        for value in wide.parameters():
            value.add_(torch.randn_like(value))
    arch = ArchSpec(name=case[0], classes=5)
    again = widen(cut(build(arch, seed=9), *case[1:], arch.input.shape).tail, 2)
    load_part_state(again, part_state(wide))
    x = torch.rand(2, *wide.input_shape)
    assert torch.equal(again(x), wide(x))


def test_every_weight_of_a_wider_tail_learns():
    wide = widen(parts_of("tiny_cnn", "block1", "block3").tail, 2)
    wide(torch.rand(4, *wide.input_shape)).square().sum().backward()
    gradients = {k: p.grad for k, p in wide.named_parameters()}
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())
    halves = gradients["graph.net.fc.weight"].chunk(2, dim=1)
    assert not torch.equal(*halves)


def test_the_tail_is_left_as_it_is():
    tail = parts_of("tiny_cnn", "block1", "block3").tail
    before = {k: v.clone() for k, v in tail.state_dict().items()}
    widen(tail, 4)
    assert all(torch.equal(before[k], v) for k, v in tail.state_dict().items())
    assert widen(tail, 1) is tail
    with pytest.raises(BadInput, match="at least 1"):
        widen(tail, 0)
