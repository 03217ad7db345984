"""Merge convolutions, and what is one, that read the same input and are added: RepVGG's branches
(Ding et al. 2021, arXiv:2101.03697, section 3.3), found in a torch.fx graph and not by class.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
"""What adds two tensors, as a function or as a method."""


class Branch(NamedTuple):
    """An odd, centred, zero-padded convolution.

    Args:
        source: what it reads.
        weight: [after, before, K, K].
        bias: [after].
    """

    source: Node
    weight: Tensor
    bias: Tensor
    stride: int


@torch.no_grad()
def merge_branches(part: GraphModule) -> bool:
    """Change a graph in eval mode in place; whether anything was merged.

    Branches are merged where they feed nothing but their sum. A batch norm is a 1x1 convolution,
    and one of stride 1 behind `x[:, :, ::s, ::s]` has the stride s.
    """
    changed = False
    for node in list(part.graph.nodes):
        if node.op not in ("call_function", "call_method") or node.target not in SUMS:
            continue
        if len(node.args) != 2 or node.kwargs:
            continue
        one, other = (_branch(part, given) for given in node.args)
        if one is None or other is None or not _alike(one, other) or _changed(part, one.source):
            continue
        name = f"merged_{node.name}"
        part.add_submodule(name, _convolution(one, other))
        with part.graph.inserting_before(node):
            merged = part.graph.call_module(name, (one.source,))
        node.replace_all_uses_with(merged)
        _erase(part, node)
        changed = True
    if changed:
        part.graph.lint()
        part.recompile()
        part.delete_all_unused_submodules()
    return changed


def _alike(one: Branch, other: Branch) -> bool:
    same = one.source is other.source and one.stride == other.stride
    # Of two batch norms a convolution would be made that costs more than both.
    worth = max(one.weight.shape[-1], other.weight.shape[-1]) > 1
    return same and worth and one.weight.shape[:2] == other.weight.shape[:2]


def _changed(part: GraphModule, source: Node) -> bool:
    """Whether something changes the input in place, so that its readers' order counts."""
    return any(_in_place(part, user) for user in source.users)


def _in_place(part: GraphModule, user: Node) -> bool:
    if user.op == "call_module":
        return bool(getattr(part.get_submodule(str(user.target)), "inplace", False))
    if user.target is operator.getitem:  # a view
        return _changed(part, user)
    name = getattr(user.target, "__name__", str(user.target))
    return bool(user.kwargs.get("inplace")) or name.endswith("_")


def _branch(part: GraphModule, node: Any) -> Branch | None:
    if not isinstance(node, Node) or node.op != "call_module":
        return None
    if len(node.args) != 1 or node.kwargs or len(node.users) != 1:
        return None
    source, layer = node.args[0], part.get_submodule(str(node.target))
    if not isinstance(source, Node) or layer.training or hooked(layer):
        return None
    if type(layer) is nn.BatchNorm2d and layer.running_var is not None:
        return _of_norm(source, layer)
    return _of_convolution(source, layer) if type(layer) is nn.Conv2d else None


def hooked(layer: nn.Module) -> bool:
    """Whether a hook may change what it is given, its answer or, as a weight norm, its weights."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks)


def _of_norm(source: Node, norm: nn.BatchNorm2d) -> Branch:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    scale = (variance + norm.eps).rsqrt()
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    return Branch(source, scale.diag()[:, :, None, None], shift, 1)


def _of_convolution(source: Node, conv: nn.Conv2d) -> Branch | None:
    size, stride = conv.kernel_size[0], conv.stride[0]
    plain = conv.groups == 1 and conv.dilation == (1, 1) and conv.padding_mode == "zeros"
    square = conv.kernel_size == (size, size) and conv.stride == (stride, stride)
    if not plain or not square or size % 2 == 0 or conv.padding != (size // 2, size // 2):
        return None
    if size == 1 and stride == 1 and (steps := _steps(source)) is not None:
        source, stride = steps
    bias = conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
    return Branch(source, conv.weight, bias, stride)


def _steps(node: Node) -> tuple[Node, int] | None:
    """x and s of `x[:, :, ::s, ::s]`."""
    if node.op != "call_function" or node.target is not operator.getitem:
        return None
    source, key = node.args
    if not isinstance(source, Node) or not isinstance(key, tuple) or len(key) != 4:
        return None
    step = key[3].step if isinstance(key[3], slice) else None
    everything, sparse = slice(None, None, None), slice(None, None, step)
    if not isinstance(step, int) or key != (everything, everything, sparse, sparse):
        return None
    return source, step


def _convolution(one: Branch, other: Branch) -> nn.Conv2d:
    size = max(one.weight.shape[-1], other.weight.shape[-1])
    weights = []
    for branch in (one, other):
        rim = (size - branch.weight.shape[-1]) // 2
        weights.append(F.pad(branch.weight, (rim, rim, rim, rim)))
    after, before = one.weight.shape[:2]
    made = nn.Conv2d(before, after, size, one.stride, size // 2, device="meta")
    made.weight = nn.Parameter(weights[0] + weights[1], one.weight.requires_grad)
    made.bias = nn.Parameter(one.bias + other.bias, one.weight.requires_grad)
    return made.eval()


def _erase(part: GraphModule, node: Node) -> None:
    """A node that nothing reads, and those that were there for it alone."""
    given = node.all_input_nodes
    part.graph.erase_node(node)
    for before in given:
        if not before.users and before.op.startswith("call_"):
            _erase(part, before)
