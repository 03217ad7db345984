"""Where a block adds its input to what it makes of it, and the same block with a factor there."""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

ADDS = (operator.add, operator.iadd, torch.add)
"""As functions; as methods "add" and "add_"."""
GRAPHS = "_graphs_of_forward"


class Factor(nn.Module):
    """x -> factor * x. The factor is a plain number: not learned, not in the state dict."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """[*] -> the same shape."""
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class _ChildrenAreLeaves(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True


def skip_names(block: nn.Module) -> list[str]:
    """One name for each skip that the block's own forward adds: "skip", or "skip_0", "skip_1".

    Empty where it adds none, or where its forward cannot be written down as a graph.
    """
    counts = {len(_skips(block, graph)) if graph else 0 for graph in _graphs(block)}
    return _names(block, counts.pop()) if len(counts) == 1 else []


def with_factors(block: nn.Module, factors: Mapping[str, float], *, drop: bool) -> None:
    """Give skips of a block their factors, in place: the block is of a class with another forward.

    Its modules, parameters and their names stay. Each factor is a `Factor` of the skip's name.

    Args:
        factors: name in `skip_names` -> factor.
        drop: leave out a skip whose factor is 0, and what only it needed (a projection, whose
            weights stay). It cannot be scaled again.
    """
    dropped = {name for name, factor in factors.items() if drop and factor == 0}
    graphs = [graph for graph in _graphs(block) if graph is not None]
    training, resting = (_forward(block, graph, factors, dropped) for graph in graphs)
    for name, factor in factors.items():
        if name not in dropped:
            block.add_module(name, Factor(factor))

    def forward(self: nn.Module, *given: Any, **named: Any) -> Any:
        return (training if self.training else resting)(self, *given, **named)

    kind = type(block)
    # A subclass, so that whoever asks what kind of block it is gets the same answer.
    same = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    # The graphs are kept for further changes: a forward that asks for the mode cannot be traced.
    own = {"forward": forward, GRAPHS: graphs, **same}
    block.__class__ = type(kind.__name__, (kind,), own)


def _forward(
    block: nn.Module, graph: fx.Graph, factors: Mapping[str, float], dropped: set[str]
) -> Callable[..., Any]:
    """The block's forward in one mode, its skips through modules of their names."""
    found = _skips(block, graph)
    for name, (node, place) in zip(_names(block, len(found)), found, strict=True):
        skip, branch = node.args[place], node.args[1 - place]
        assert isinstance(skip, fx.Node)
        assert isinstance(branch, fx.Node)
        if name in dropped:
            node.replace_all_uses_with(branch)
            graph.erase_node(node)
            _erase_unused(graph, skip)
        elif name in factors:
            with graph.inserting_before(node):
                scaled = graph.call_module(name, (skip,))
            node.update_arg(place, scaled)
    code = graph.python_code("self")
    space = dict(code.globals)
    exec(code.src, space)
    return cast(Callable[..., Any], space["forward"])


def _names(block: nn.Module, count: int) -> list[str]:
    base = "skip" if isinstance(getattr(block, "skip", Factor()), Factor) else "skip_scale"
    return [base] if count == 1 else [f"{base}_{number}" for number in range(count)]


def _graphs(block: nn.Module) -> list[fx.Graph | None]:
    """The block's forward in training and at rest, its children as they are.

    None where Python decides on values.
    """
    if (kept := getattr(type(block), GRAPHS, None)) is not None:
        return [copy.deepcopy(graph) for graph in kept]
    graphs: list[fx.Graph | None] = []
    before = block.training
    for mode in (True, False):
        block.training = mode  # its own alone: children are called, not looked into
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graphs.append(_ChildrenAreLeaves().trace(block))
        except Exception:  # whatever a forward raises on a proxy
            graphs.append(None)
        finally:
            block.training = before
    return graphs


def _skips(block: nn.Module, graph: fx.Graph) -> list[tuple[fx.Node, int]]:
    """Additions of a skip in the order of the forward, each with the skip's place among the two.

    An addition is one where a tensor meets what was made of it; or, where it goes through a
    projection, where two ways from one tensor meet and one has fewer parameters.
    """
    before: dict[fx.Node, set[fx.Node]] = {}
    found = []
    for node in graph.nodes:
        ways = [before[n] | {n} for n in node.all_input_nodes]
        # Through sizes nothing of a tensor comes in.
        before[node] = set() if _number(node) else set().union(*ways)
        if not _adds(node) or len(ways) != 2 or node.args[0] is node.args[1]:
            continue
        common = ways[0] & ways[1]
        if any(n.op == "placeholder" for n in common):
            weights = [_parameters(block, way - common) for way in ways]
            if weights[0] != weights[1]:
                found.append((node, 0 if weights[0] < weights[1] else 1))
    return found


def _adds(node: fx.Node) -> bool:
    function = node.op == "call_function" and node.target in ADDS
    method = node.op == "call_method" and node.target in ("add", "add_")
    return (function or method) and all(isinstance(arg, fx.Node) for arg in node.args[:2])


def _number(node: fx.Node) -> bool:
    """Whether it is made of sizes: every way to it from a tensor leads through its shape."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    if node.op == "call_method" and node.target in ("size", "dim", "numel"):
        return True
    inputs = node.all_input_nodes
    plain = node.op == "call_function" and getattr(node.target, "__module__", "") == "_operator"
    return plain and bool(inputs) and all(_number(one) for one in inputs)


def _parameters(block: nn.Module, way: set[fx.Node]) -> int:
    """How many tensors of parameters lie on a way."""
    called = {str(node.target) for node in way if node.op == "call_module"}
    held = sum(node.op == "get_attr" for node in way)
    return held + sum(len(list(block.get_submodule(name).parameters())) for name in called)


def _erase_unused(graph: fx.Graph, node: Any) -> None:
    if isinstance(node, fx.Node) and not node.users and node.op != "placeholder":
        needed = node.all_input_nodes
        graph.erase_node(node)
        for one in needed:
            _erase_unused(graph, one)
