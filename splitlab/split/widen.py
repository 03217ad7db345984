"""A tail for several bodies: what Ensembler's selector concatenates is taken in at once."""

from __future__ import annotations

import copy
import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from splitlab.contracts import FeatureSpec
from splitlab.errors import BadInput
from splitlab.split.parts import Part

ADAPTER = "widened_input"
_CHANNEL_WISE = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Sigmoid,
    nn.Tanh,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Hardtanh,
    nn.Softplus,
    nn.Dropout,
)
_ON_MAPS = (
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.Dropout2d,
    nn.Flatten,
)
_FUNCTIONS = {torch.relu, F.relu, F.relu6, F.gelu, F.silu, F.hardswish, torch.sigmoid, torch.tanh}
_POOLS = {F.adaptive_avg_pool2d, F.adaptive_max_pool2d, F.avg_pool2d, F.max_pool2d}
_METHODS = {"relu", "sigmoid", "tanh", "contiguous"}


@torch.inference_mode(False)
def widen(tail: Part, times: int) -> Part:
    """A copy of `tail` that takes `times` inputs, concatenated along their channel axis.

    The axis is `FeatureSpec.channel_axis` of one input: 1 for maps and vectors, the last one for
    token sequences and channels-last grids. Each first linear layer or convolution that the input
    reaches through operations on single channels (activations, pooling, flattening) gets `times` as
    many input features. Where a path meets anything else first (a shortcut around a block, a norm),
    a 1x1 layer without bias from `times` inputs to one is put in front of the whole tail instead.

    The weights are those of `tail`, repeated, so that `times` equal inputs divided by `times`, as
    the selector makes them, are answered as `tail` answers one, up to rounding, wherever no
    activation lies before the layer. The result depends on nothing but the arguments.

    Args:
        tail: [B, *input_shape] -> [B, classes]; left as it is, and returned where `times` is 1.

    Raises:
        BadInput: `times` below 1.
    """
    if times < 1:
        raise BadInput(f"a tail for {times} outputs; give at least 1")
    if times == 1:
        return tail
    feature = FeatureSpec(shape=tail.input_shape)
    axis = feature.channel_axis
    shape = list(tail.input_shape)
    shape[0 if axis == 1 else -1] *= times
    wide = copy.deepcopy(tail)
    wide.input_shape = tuple(shape)
    layers = _first_layers(wide.graph, last=axis == -1)
    if layers is None:
        _put_adapter(wide, feature, times)
    else:
        for target in layers:
            _replace(wide.graph, target, _wider(wide.graph.get_submodule(target), times))
    return wide.eval()


def _first_layers(graph: fx.GraphModule, *, last: bool) -> list[str] | None:
    """Names of the layers to be widened, or None where something else is met before one.

    Args:
        last: whether the channel is the last axis, not axis 1.
    """
    nodes = list(graph.graph.nodes)
    wide = {next(node for node in nodes if node.op == "placeholder")}
    calls = [str(node.target) for node in nodes if node.op == "call_module"]
    found: list[str] = []
    for node in nodes:
        if not any(source in wide for source in node.all_input_nodes) or _asks_only(node):
            continue
        target = str(node.target)
        module = graph.get_submodule(target) if node.op == "call_module" else None
        if module is not None and _is_layer(module, last) and calls.count(target) == 1:
            found.append(target)
        elif _keeps_channels(node, module, last):
            wide.add(node)
        else:
            return None
    return found or None


def _asks_only(node: fx.Node) -> bool:
    """Whether it reads the batch size or the device, not the numbers."""
    if node.op == "call_method" and node.target == "size":
        return node.args[1:] == (0,)
    return node.target is getattr and node.args[1:] == ("device",)


def _is_layer(module: nn.Module, last: bool) -> bool:
    if type(module) is nn.Conv2d:
        return module.groups == 1 and not last
    return type(module) is nn.Linear


def _keeps_channels(node: fx.Node, module: nn.Module | None, last: bool) -> bool:
    """Whether the operation treats each channel by itself and keeps their order."""
    if module is not None:
        if type(module) is nn.Flatten and (module.start_dim, module.end_dim) != (1, -1):
            return False
        return type(module) in _CHANNEL_WISE or (not last and type(module) in _ON_MAPS)
    if node.op == "call_method":
        if node.target in ("flatten", "view", "reshape") and not last:
            return _flattens(node)
        return node.target in _METHODS
    if node.target is operator.getitem and last:
        return _takes_tokens(node.args[1])
    if node.target is torch.flatten and not last:
        return _flattens(node)
    return node.target in _FUNCTIONS or (not last and node.target in _POOLS)


def _flattens(node: fx.Node) -> bool:
    """Whether it turns [B, C, ...] into [B, numbers], whatever C is."""
    given = (*node.args[1:], *node.kwargs.values())
    if node.target in ("view", "reshape"):
        sizes = given[0] if len(given) == 1 and isinstance(given[0], tuple | list) else given
        return bool(len(sizes) == 2 and isinstance(sizes[0], fx.Node) and sizes[1] == -1)
    return given in ((1,), (1, -1))


def _takes_tokens(index: Any) -> bool:
    """Whether an index into [B, T, D] takes one token or several, each whole."""
    everything = slice(None, None, None)
    return isinstance(index, tuple) and len(index) == 2 and bool(index[0] == everything)


def _wider(layer: nn.Module, times: int) -> nn.Module:
    """The layer for `times` as many input features; its weights repeated along them."""
    made = copy.deepcopy(layer)
    weight: Tensor = layer.weight  # type: ignore[assignment]
    repeats = [1, times, *[1] * (weight.ndim - 2)]
    made.weight = nn.Parameter(
        weight.detach().clone().repeat(repeats), requires_grad=weight.requires_grad
    )
    if isinstance(made, nn.Conv2d):
        made.in_channels *= times
    elif isinstance(made, nn.Linear):
        made.in_features *= times
    return made


def _put_adapter(part: Part, feature: FeatureSpec, times: int) -> None:
    """A 1x1 layer in front of everything; it begins as the sum of its inputs."""
    channels = feature.channels
    square = torch.eye(channels).repeat(1, times)
    adapter: nn.Conv2d | nn.Linear
    if feature.layout == "map":
        adapter = nn.utils.skip_init(nn.Conv2d, times * channels, channels, 1, bias=False)
        weight = square[:, :, None, None].clone()
    else:
        adapter = nn.utils.skip_init(nn.Linear, times * channels, channels, bias=False)
        weight = square
    adapter.weight = nn.Parameter(weight)
    module = part.graph
    module.add_module(ADAPTER, adapter)
    source = next(node for node in module.graph.nodes if node.op == "placeholder")
    with module.graph.inserting_after(source):
        adapted = module.graph.call_module(ADAPTER, (source,))
    source.replace_all_uses_with(adapted, lambda user: user is not adapted)
    module.graph.lint()
    module.recompile()
    part.keys = {**part.keys, f"{ADAPTER}.weight": (f"{ADAPTER}.weight",)}


def _replace(graph: fx.GraphModule, target: str, new: nn.Module) -> None:
    parent, _, name = target.rpartition(".")
    setattr(graph.get_submodule(parent), name, new)
