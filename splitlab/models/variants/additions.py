"""Where a block adds its input to what it makes of it, and the same block with a factor there."""

from __future__ import annotations

import copy
import dis
import inspect
import operator
import warnings
from collections.abc import Callable, Collection, Mapping
from itertools import combinations
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from splitlab.errors import BadInput

ADDS = (operator.add, operator.iadd, torch.add)
"""As functions; as methods "add" and "add_"."""
GRAPHS = "_graphs_of_forward"
OPTIONAL = 3
"""Arguments with defaults that are looked at both ways; further ones count as given."""


Skips = list[tuple[fx.Node, int]]
"""Additions of a skip in the order of the forward, each with the skip's place among the two."""


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
    """
    Args:
        left_out: argument -> its default, which the forward gets in place of it.
    """

    def __init__(self, left_out: Mapping[str, Any]) -> None:
        super().__init__()
        self.left_out = left_out

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002
        return True

    def create_args_for_root(self, *given: Any, **named: Any) -> Any:
        function, args = super().create_args_for_root(*given, **named)
        for place, arg in enumerate(args):
            if isinstance(arg, fx.Proxy) and arg.node.target in self.left_out:
                self.graph.erase_node(arg.node)
                args[place] = self.left_out[str(arg.node.target)]
        return function, args


class _Graphs(NamedTuple):
    """A block's forward, its children as they are.

    Args:
        defaults: arguments of the forward that are looked at both ways.
        ways: (training, what of them is left out) -> graph; without what Python decides on values.
    """

    signature: inspect.Signature
    defaults: dict[str, Any]
    ways: dict[tuple[bool, frozenset[str]], fx.Graph]


def skip_names(block: nn.Module) -> list[str]:
    """One name for each skip that the block's own forward adds: "skip", or "skip_0", "skip_1".

    Empty where it adds none, or where its forward cannot be written down as a graph.
    """
    found = _all_skips(block, _graphs(block))
    return _names(block, len(next(iter(found.values())))) if found else []


def unread_additions(block: nn.Module) -> bool:
    """Whether its forward adds something, and cannot be written down as a graph."""
    if {mode for mode, _ in _graphs(block).ways} == {True, False}:
        return False
    told = dis.get_instructions(type(block).forward)
    return any(one.argrepr in ("+", "+=") or one.argval in ("add", "add_") for one in told)


def with_factors(block: nn.Module, factors: Mapping[str, float], *, drop: bool) -> None:
    """Give skips of a block their factors, in place: the block is of a class with another forward.

    Its modules, parameters and their names stay. Each factor is a `Factor` of the skip's name.

    Args:
        factors: name in `skip_names` -> factor.
        drop: leave out a skip whose factor is 0, and what only it needed (a projection, whose
            weights stay). It cannot be scaled again.
    """
    dropped = {name for name, factor in factors.items() if drop and factor == 0}
    graphs = _graphs(block)
    forwards = {
        way: _forward(block, graphs.ways[way], skips, factors, dropped)
        for way, skips in _all_skips(block, graphs).items()
    }
    for name, factor in factors.items():
        if name not in dropped:
            block.add_module(name, Factor(factor))
    kind = type(block)

    def forward(self: nn.Module, *given: Any, **named: Any) -> Any:
        if not graphs.defaults:
            return forwards[self.training, frozenset()](self, *given, **named)
        told = graphs.signature.bind(self, *given, **named).arguments
        told.pop(next(iter(told)))  # the block itself
        left_out = {n for n, default in graphs.defaults.items() if told.get(n, default) is default}
        way = forwards.get((self.training, frozenset(left_out)))
        if way is None:
            raise BadInput(
                f"variant skip: {kind.__name__} is called with {', '.join(told)}, and its "
                "forward decides on values there; leave its skips as they are"
            )
        return way(self, **{name: value for name, value in told.items() if name not in left_out})

    # A subclass, so that whoever asks what kind of block it is gets the same answer.
    same = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    # The graphs are kept for further changes: a forward that asks for the mode cannot be traced.
    own = {"forward": forward, GRAPHS: graphs, **same}
    block.__class__ = type(kind.__name__, (kind,), own)


def _forward(
    block: nn.Module,
    graph: fx.Graph,
    skips: Skips,
    factors: Mapping[str, float],
    dropped: set[str],
) -> Callable[..., Any]:
    """The block's forward in one way, its skips through modules of their names."""
    for name, (node, place) in zip(_names(block, len(skips)), skips, strict=True):
        skip, branch = node.args[place], node.args[1 - place]
        assert isinstance(skip, fx.Node)
        assert isinstance(branch, fx.Node)
        if name in dropped:
            if place == 0 and "alpha" in node.kwargs:  # x + alpha * branch
                with graph.inserting_before(node):
                    branch = graph.call_function(operator.mul, (branch, node.kwargs["alpha"]))
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


def _graphs(block: nn.Module) -> _Graphs:
    """Its forward in training and at rest, with each of its optional arguments and without."""
    if (kept := getattr(type(block), GRAPHS, None)) is not None:
        return cast(_Graphs, kept._replace(ways=copy.deepcopy(kept.ways)))
    signature = inspect.signature(type(block).forward)
    arguments = [*signature.parameters.values()]
    plain = all(one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY) for one in arguments)
    optional = [one for one in arguments if plain and one.default is not one.empty]
    defaults = {one.name: one.default for one in optional[:OPTIONAL]}
    counts = range(len(defaults), -1, -1)
    left_out = [frozenset(some) for n in counts for some in combinations(defaults, n)]
    ways: dict[tuple[bool, frozenset[str]], fx.Graph] = {}
    before = block.training
    for way in [(mode, names) for names in left_out for mode in (True, False)]:
        block.training = way[0]  # its own alone: children are called, not looked into
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                graph = _ChildrenAreLeaves({name: defaults[name] for name in way[1]}).trace(block)
            ways[way] = _with_plain_additions(graph)
        except Exception:  # whatever a forward raises on a proxy
            continue
        finally:
            block.training = before
    return _Graphs(signature, defaults, ways)


def _with_plain_additions(graph: fx.Graph) -> fx.Graph:
    """Both terms of an addition by position; what follows one in place follows its sum."""
    for node in graph.nodes:
        if not _adds(node):
            continue
        named = dict(node.kwargs)
        given = [named.pop("input")] if "input" in named else []
        after = [named.pop("other")] if "other" in named else []
        node.args, node.kwargs = (*given, *node.args, *after), named
        first = node.args[0]
        in_place = node.target in (operator.iadd, "add_")
        if in_place and isinstance(first, fx.Node) and not _number(first):
            for user in [one for one in first.users if one > node]:
                user.replace_input_with(first, node)
    return graph


def _all_skips(block: nn.Module, graphs: _Graphs) -> dict[tuple[bool, frozenset[str]], Skips]:
    """The skips of every way; empty where the ways differ in how many they have, or have none.

    What is given for an optional argument is a skip too, where without it an input of the block
    is added there (DLA's `shortcut`).
    """
    if {mode for mode, _ in graphs.ways} != {True, False}:
        return {}
    found = {way: _skips(block, graph) for way, graph in graphs.ways.items()}
    count = len(next(iter(found.values())))
    for way, skips in found.items():
        if len(skips) < count:
            found[way] = _skips(block, graphs.ways[way], given=graphs.defaults.keys() - way[1])
    return found if count and all(len(skips) == count for skips in found.values()) else {}


def _skips(block: nn.Module, graph: fx.Graph, given: Collection[str] = ()) -> Skips:
    """
    An addition is one where a tensor meets what was made of it; or, where it goes through a
    projection, where two ways from one tensor meet and one has fewer parameters.

    Args:
        given: arguments that are skips wherever they are added to what has parameters.
    """
    before: dict[fx.Node, set[fx.Node]] = {}
    found = []
    for node in graph.nodes:
        # Through sizes nothing of a tensor comes in.
        inputs = set() if _number(node) else {*node.all_input_nodes}
        before[node] = inputs.union(*(before[one] for one in inputs))
        terms = node.args[:2]
        if not _adds(node) or not all(isinstance(one, fx.Node) for one in terms):
            continue
        if len({*terms}) != 2:
            continue
        ways = [before[one] | {one} for one in terms]
        common = ways[0] & ways[1]
        met = any(n.op == "placeholder" for n in common)
        if met or any(_input_of(block, one) in given for one in terms):
            weights = [_parameters(block, way - common) for way in ways]
            if weights[0] != weights[1]:
                found.append((node, 0 if weights[0] < weights[1] else 1))
    return found


def _input_of(block: nn.Module, node: fx.Node) -> str:
    """The argument that a term is, scaled or not; "" of another."""
    while node.op == "call_module" and isinstance(block.get_submodule(str(node.target)), Factor):
        node = node.all_input_nodes[0]
    return str(node.target) if node.op == "placeholder" else ""


def _adds(node: fx.Node) -> bool:
    function = node.op == "call_function" and node.target in ADDS
    method = node.op == "call_method" and node.target in ("add", "add_")
    return function or method


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
