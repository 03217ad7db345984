"""Hooks of a user's own: what they do is done once, or the network is refused with the reason."""
# ruff: noqa: ARG001, ARG002, ARG005

import copy
from typing import Any

import pytest
import torch
from split_cases import error
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

from splitlab.errors import NotCuttable
from splitlab.split import cut, load_part_state, part_state, split_points
from splitlab.split.folding import fold_batch_norm

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
SHAPE = (3, 8, 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.norm(self.conv(x)) * scale


class Net(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.stem, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.block, self.last = Block(), nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.act(self.stem(x)), scale=0.5)
        return self.fc(self.last(x).flatten(1))


def right(net: nn.Module) -> None:
    """Head, body and tail equal the whole at two cuts, for batches of 1, 2 and 4."""
    net.eval()
    points = split_points(net, SHAPE, "operation")
    assert len(points) >= 3
    for first, last in ((points[0], points[-1]), (points[len(points) // 2], None)):
        parts = cut(net, first.name, last.name if last else None, SHAPE)
        for count in (1, 2, 4):
            images = IMAGES[:count] if count > 1 else IMAGES[3:]
            assert error(parts, net, images) <= 1e-5, (first.name, count)


def doubled(module: nn.Module, args: Any) -> Any:
    return (args[0] * 2 + 0.1,)


def tilted(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    return output * 1.5 - 0.2


def with_keywords(module: nn.Module, args: Any, kwargs: Any) -> Any:
    return (args[0] + 0.3,), {**kwargs, "scale": kwargs["scale"] * 3}


def seen_with_keywords(module: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor:
    return output + args[0].mean() + kwargs.get("scale", 0.0)


def in_place(module: nn.Module, args: Any) -> None:
    args[0].mul_(2)


def output_in_place(module: nn.Module, args: Any, output: Tensor) -> None:
    output.add_(0.7)


LEAVES = ("stem", "act", "block.conv", "block.norm", "last", "fc")


@pytest.mark.parametrize("place", [*LEAVES, "block", ""])
def test_hooks_act_once_wherever_they_are(place: str) -> None:
    net = Net()
    net.get_submodule(place).register_forward_pre_hook(doubled)
    net.get_submodule(place).register_forward_hook(tilted)
    right(net)


@pytest.mark.parametrize("place", ["act", "block", "last"])
def test_hooks_that_write_in_place(place: str) -> None:
    net = Net()
    net.get_submodule(place).register_forward_pre_hook(in_place)
    net.get_submodule(place).register_forward_hook(output_in_place)
    right(net)


def test_hooks_with_keywords_several_of_them_and_on_layers_that_do_nothing() -> None:
    net = Net()
    net.block.register_forward_pre_hook(with_keywords, with_kwargs=True)
    net.block.register_forward_hook(seen_with_keywords, with_kwargs=True)
    net.last.register_forward_hook(seen_with_keywords, with_kwargs=True, always_call=True)
    net.last.register_forward_pre_hook(doubled, prepend=True)
    net.last.register_forward_pre_hook(doubled)
    net.act = nn.Identity()  # type: ignore[assignment]
    net.act.register_forward_pre_hook(doubled)
    net.act.register_forward_hook(tilted)
    right(net)


def test_a_hook_on_a_module_that_is_called_twice() -> None:
    class Twice(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.last(torch.tanh(self.last(self.stem(x))))
            return self.fc(x.flatten(1))

    net = Twice()
    net.last.register_forward_pre_hook(doubled)
    net.last.register_forward_hook(tilted)
    right(net)


def test_a_hook_inside_a_layer_of_several_modules() -> None:
    class Attending(Net):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.1, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            tokens = self.layer(self.stem(x).flatten(2).transpose(1, 2))
            return self.fc(torch.tanh(tokens).flatten(1))

    net = Attending()
    net.layer.linear1.register_forward_pre_hook(doubled)
    net.layer.register_forward_hook(tilted)
    right(net)


def test_a_skip_through_hooks_is_followed_across_modules() -> None:
    net, kept = Net(), {}

    def keep(module: nn.Module, args: Any, output: Tensor) -> None:
        kept["skip"] = output

    def add(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        return output + kept["skip"]

    net.act.register_forward_hook(keep)
    net.last.register_forward_hook(add)
    right(net)
    # What is added at the end crosses too, so that the block between is no place for a cut.
    names = [point.name for point in split_points(net, SHAPE, "operation")]
    assert "act" in names
    assert "block" not in names


def test_hooks_that_only_look_change_neither_names_nor_answers() -> None:
    plain, net, seen = Net(), Net(), []
    for module in net.modules():
        module.register_forward_hook(lambda module, args, output: seen.append(output.shape))
        module.register_forward_pre_hook(lambda module, args: None)
        module.register_full_backward_hook(lambda module, given, got: None)
    right(net)
    for granularity in ("block", "operation"):
        assert split_points(net, SHAPE, granularity) == split_points(plain, SHAPE, granularity)


def test_backward_hooks_stay_with_the_network_that_trains() -> None:
    net = Net().eval()
    net.last.register_full_backward_hook(lambda module, given, got: (given[0] * 0,))
    net.stem.register_full_backward_pre_hook(lambda module, got: (got[0] * 0,))
    right(net)
    head = cut(net, "last", None, SHAPE).head
    images = IMAGES.clone().requires_grad_()
    head(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


class Equalised:
    """Weights times a constant, made anew before each call, as StyleGAN's do."""

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def __call__(self, module: nn.Module, args: Any) -> None:
        module.weight = module.weight_orig * self.gain


def equalised(layer: nn.Module) -> None:
    weight = layer.weight
    del layer._parameters["weight"]
    layer.register_parameter("weight_orig", nn.Parameter(weight.detach()))
    layer.weight = weight.detach()  # type: ignore[assignment]
    layer.register_forward_pre_hook(Equalised(1.7))


class Halving(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def pruned(layer: nn.Module) -> None:
    prune.random_unstructured(layer, "weight", 0.5)


def _parametrised(layer: nn.Module) -> None:
    parametrize.register_parametrization(layer, "weight", Halving())


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated.*")
@pytest.mark.parametrize(
    "change",
    [
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        _parametrised,
        pruned,
        equalised,
    ],
)
def test_weights_that_are_made_before_each_call_follow_what_is_loaded(change: Any) -> None:
    one, two = Net(0), Net(1)
    for net in (one, two):
        for layer in (net.stem, net.block.conv, net.fc):
            torch.manual_seed(7)
            change(layer)
    right(one)
    parts = cut(one, "act", "block", SHAPE)
    for part, source in zip(parts, cut(two.eval(), "act", "block", SHAPE), strict=True):
        load_part_state(part, part_state(source))
    assert error(parts, two, IMAGES) <= 1e-5
    assert error(parts, one, IMAGES) > 1e-3


@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated.*")
def test_a_convolution_whose_weight_is_made_is_not_folded() -> None:
    net = Net().eval()
    assert net.block.norm.running_mean is not None
    net.block.norm.running_mean.fill_(0.3)
    weight_norm(net.block.conv)
    body = cut(net, "act", None, SHAPE).body
    feature = torch.rand(2, *body.input_shape)
    wanted = body(feature)
    folded = fold_batch_norm(copy.deepcopy(body))
    assert ((folded(feature) - wanted).abs().max() / wanted.abs().max()).item() <= 1e-5


def _counted(net: Net) -> None:
    calls = [0]

    def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        calls[0] += 1
        return output if calls[0] % 2 else -output

    net.last.register_forward_hook(hook)


def _branching(net: Net) -> None:
    net.last.register_forward_hook(
        lambda module, args, output: output * 2 if output.mean() > 0 else output
    )


def _by_batch(net: Net) -> None:
    net.last.register_forward_pre_hook(
        lambda module, args: (args[0] * (2 if len(args[0]) > 8 else 1),)
    )


def _own_copy(net: Net) -> None:
    other = net.last
    net.stem.register_forward_hook(lambda module, args, output: other(output))


def _into_the_weights(net: Net) -> None:
    def hook(module: nn.Module, args: Any) -> None:
        module.bias.data.add_(0.1)

    net.last.register_forward_pre_hook(hook)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_counted, "changes from call to call"),
        (_branching, "depends on numbers"),
        (_by_batch, r"compares the batch size \(n > 8, n images\)"),
        (_own_copy, "its own copy"),
        (_into_the_weights, "last.bias is written to in eval mode"),
    ],
)
def test_hooks_that_no_part_can_repeat_are_refused(change: Any, says: str) -> None:
    net = Net().eval()
    change(net)
    with pytest.raises(NotCuttable, match=says):
        cut(net, "act", None, SHAPE)


def test_hooks_on_every_module_of_the_process_are_refused() -> None:
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: output + 1)
    try:
        with pytest.raises(NotCuttable, match="hooks on every module of this process"):
            cut(Net(), "act", None, SHAPE)
    finally:
        handle.remove()
