"""What a block of the target consists of, as far as its inverse goes by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn
from torch.fx import Node

ACTIVATIONS = frozenset({"relu", "relu6", "gelu", "silu", "hardswish", "leaky_relu", "elu"})
AFFINE = (nn.Linear, nn.BatchNorm1d, nn.Flatten, nn.Unflatten, nn.Identity, nn.Dropout)
RESHAPES = frozenset({"flatten", "reshape", "view", "unflatten"})


class Inner(NamedTuple):
    """The kernel between a bottleneck's two 1x1 convolutions."""

    channels: int
    groups: int


def reading_kernel(kernels: Sequence[nn.Conv2d], given: tuple[int, ...]) -> int:
    """The side of the largest convolution that reads the image; 3 where it is even, or its steps
    do not overlap.
    """
    sides = [
        kernel.kernel_size[0]
        for kernel in kernels
        if kernel.in_channels == given[0] and kernel.kernel_size[0] > kernel.stride[0]
    ]
    largest = max(sides, default=3)
    return largest if largest % 2 else 3


def inner_kernel(kernels: Sequence[nn.Conv2d]) -> Inner | None:
    """The larger kernel behind one 1x1 convolution and before another, where there is one."""
    for number, kernel in enumerate(kernels):
        if kernel.kernel_size == (1, 1):
            continue
        before = any(
            point.kernel_size == (1, 1) and point.out_channels == kernel.in_channels
            for point in kernels[:number]
        )
        behind = any(
            point.kernel_size == (1, 1) and point.in_channels == kernel.out_channels
            for point in kernels[number + 1 :]
        )
        if before and behind:
            return Inner(kernel.in_channels, kernel.groups)
    return None


def is_affine(module: nn.Module) -> bool:
    """Whether it consists of linear layers, what is folded into them, and changes of shape."""
    leaves = [part for part in module.modules() if not any(part.children())]
    if not all(isinstance(leaf, AFFINE) for leaf in leaves):
        return False
    graph = getattr(getattr(module, "graph", None), "graph", None)
    calls = [node for node in graph.nodes if node.op.startswith("call_")] if graph else []
    return all(node.op == "call_module" or _name(node) in RESHAPES for node in calls)


def has_shortcut(module: nn.Module) -> bool:
    """Whether its graph adds tensors behind an activation, as a shortcut around layers does."""
    graph = getattr(getattr(module, "graph", None), "graph", None)
    if graph is None:
        return False
    active = False
    for node in graph.nodes:
        if node.op == "call_module":
            called = module.graph.get_submodule(node.target)  # type: ignore[union-attr]
            active = active or type(called).__module__ == "torch.nn.modules.activation"
        elif node.op in ("call_function", "call_method"):
            active = active or _name(node) in ACTIVATIONS
            if active and _name(node) in ("add", "iadd"):
                return True
    return False


def _name(node: Node) -> str:
    """Of the function or method that a node of a graph calls."""
    name: str = node.target if isinstance(node.target, str) else node.target.__name__
    return name.rstrip("_")
