"""Three parts that together are the network, and nothing less or more."""

import copy
from itertools import pairwise

import pytest
import torch
from split_cases import error, stirred
from torch import nn

from splitlab.contracts import ArchSpec
from splitlab.errors import BadInput, Mismatch, NotCuttable, UnknownName
from splitlab.models import MODELS, Normalised, build
from splitlab.split import cut, load_part_state, part_state, split_points

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in ("resnet56", "vgg16_cifar") else [])
        for name in MODELS
    ],
)
def test_parts_equal_the_whole(name: str) -> None:
    net = stirred(ArchSpec(name=name))
    points = split_points(net, granularity="operation")
    third = len(points) // 3
    for first, last in ((0, -1), (third, 2 * third), (2 * third, None)):
        tail = None if last is None else points[last].name
        assert error(cut(net, points[first].name, tail), net, IMAGES) <= 1e-5


def test_every_operation_of_a_network_and_every_body_of_one_block() -> None:
    net = stirred(ArchSpec(name="tiny_cnn"))
    for point in split_points(net, granularity="operation"):
        assert error(cut(net, point.name), net, IMAGES[:2]) <= 1e-5
    blocks = split_points(net)
    for first, last in pairwise(blocks):
        assert error(cut(net, first.name, last.name), net, IMAGES[:2]) <= 1e-5


def test_an_alias_cuts_where_its_block_does() -> None:
    net = stirred(ArchSpec(name="resnet20"))
    by_name, by_alias = cut(net, "layer1.2", "layer3.0"), cut(net, "layer1", "layer3.0.relu_1")
    for one, two in zip(by_name, by_alias, strict=True):
        assert part_state(one).keys() == part_state(two).keys()


def test_without_a_tail_the_body_runs_to_the_end() -> None:
    net = stirred(ArchSpec(name="resnet20"))
    head, body, tail = cut(net, "layer2.2")
    assert (head.output_shape, body.output_shape, tail.output_shape) == ((32, 16, 16), (10,), (10,))
    assert not part_state(tail)
    answer = torch.rand(2, 10)
    assert torch.equal(tail(answer), answer)
    assert "linear.weight" in part_state(body)


def test_parts_hold_the_networks_own_keys_and_together_make_it_again() -> None:
    net = stirred(ArchSpec(name="resnet18_cifar"))
    states = [part_state(part) for part in cut(net, "layer1", "layer4.0")]
    union = {key: value for state in states for key, value in state.items()}
    assert sum(map(len, states)) == len(union)
    other = build(ArchSpec(name="resnet18_cifar"), seed=9).eval()
    other.net.load_state_dict(union)
    assert torch.equal(other(IMAGES), net(IMAGES))


def test_weights_of_one_network_load_into_parts_of_another() -> None:
    one, two = stirred(ArchSpec(name="resnet20"), 1), stirred(ArchSpec(name="resnet20"), 2)
    parts = cut(one, "layer1.0", "layer3.1")
    assert error(parts, two, IMAGES) > 0.01
    for part, source in zip(parts, cut(two, "layer1.0", "layer3.1"), strict=True):
        load_part_state(part, part_state(source))
    assert error(parts, two, IMAGES) <= 1e-5


def test_weights_of_another_part_are_refused_and_change_nothing() -> None:
    net = stirred(ArchSpec(name="resnet20"))
    head, body, _ = cut(net, "layer1.0", "layer3.1")
    before = {key: value.clone() for key, value in part_state(body).items()}
    with pytest.raises(Mismatch, match=r"missing layer1\.1.*unexpected bn1"):
        load_part_state(body, part_state(head))
    wrong = dict(before)
    wrong["layer1.1.conv1.weight"] = torch.zeros(1)
    with pytest.raises(
        Mismatch, match=r"layer1\.1\.conv1\.weight is \(1,\), wanted \(16, 16, 3, 3\)"
    ):
        load_part_state(body, wrong)
    assert all(torch.equal(before[key], value) for key, value in part_state(body).items())


def test_parts_are_copies_in_eval_mode_and_the_network_stays_as_it_was() -> None:
    net = build(ArchSpec(name="resnet20"), seed=0).train()
    parts = cut(net, "layer1.0", "layer3.1")
    assert net.training
    assert not any(module.training for part in parts for module in part.modules())
    weights = {parameter.data_ptr() for parameter in net.parameters()}
    for part in parts:
        assert not weights & {value.data_ptr() for value in part_state(part).values()}
    nn.init.zeros_(next(parts.head.parameters()))
    assert net.net.get_submodule("conv1").weight.abs().sum() > 0


def test_a_part_can_be_copied_and_moved() -> None:
    net = stirred(ArchSpec(name="tiny_vit"))
    head, body, tail = cut(net, "layers.0", "norm")
    double = [copy.deepcopy(part).double() for part in (head, body, tail)]
    tensor = IMAGES.double()
    for part in double:
        tensor = part(tensor)
    assert torch.allclose(tensor, copy.deepcopy(net).double()(IMAGES.double()), rtol=1e-10)


def test_any_batch_size_runs() -> None:
    net = stirred(ArchSpec(name="tiny_vit"))
    parts = cut(net, "layers.0", "norm")
    for count in (1, 2, 7):
        images = torch.rand(count, 3, 32, 32)
        assert error(parts, net, images) <= 1e-5


def test_gradients_pass_through_a_head() -> None:
    head = cut(stirred(ArchSpec(name="resnet20")), "layer3.2").head
    images = IMAGES.clone().requires_grad_()
    head(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_a_plain_module_is_cut_without_normalisation() -> None:
    net = stirred(ArchSpec(name="resnet20")).net
    assert not isinstance(net, Normalised)
    assert [point.name for point in split_points(net)][:2] == ["conv1", "bn1"]
    assert error(cut(net, "layer1"), net, IMAGES) <= 1e-5


def test_cuts_that_cannot_be() -> None:
    net = build(ArchSpec(name="resnet20"), seed=0)
    for tail in ("layer1.0", "layer2.0"):
        with pytest.raises(BadInput, match="does not lie behind it"):
            cut(net, "layer2.0", tail)
    with pytest.raises(UnknownName, match=r"layer1\.0"):
        cut(net, "layer1.9")
    with pytest.raises(NotCuttable, match="2 tensors cross there"):
        cut(net, "relu", "layer3.1.bn2")


def test_inference_mode_around_a_cut_changes_nothing() -> None:
    net = stirred(ArchSpec(name="resnet18_cifar"))
    with torch.inference_mode():
        assert split_points(net) == split_points(build(ArchSpec(name="resnet18_cifar")))
        parts = cut(net, "layer1", "layer4.0")
    assert error(parts, net, IMAGES) <= 1e-5
    load_part_state(parts.body, part_state(parts.body))


def test_the_original_keeps_its_stochastic_layers_for_training() -> None:
    net = build(ArchSpec(name="torchvision/mobilenet_v3_small"), seed=0).train()
    cut(net, "features.0")
    torch.manual_seed(0)
    assert not torch.equal(net(IMAGES), net(IMAGES))
    part = cut(net, "features.0").body
    feature = torch.rand(2, *part.input_shape)
    assert torch.equal(part(feature), part(feature))
